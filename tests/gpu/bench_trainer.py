"""Training on a real GPU against Hugging Face's Trainer: `tests/benchmarks/bench_trainer.py` there.

Twelve layers as of BERT-base with random weights; seconds are those of the clock.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from shapca.config import ExperimentConfig, with_value
from shapca.model.encoders import load_tokenizer
from tests.benchmarks.bench_trainer import CONFIG, learner_of, trainer_of
from tests.benchmarks.bench_training import drawn_posts
from tests.benchmarks.timing import best_seconds
from tests.encoder_families import save_text_encoder
from tests.gpu.bench_memory import TEXT as BASE
from tests.gpu.device import DEVICE, IS_CUDA, device_name, needs_device, synchronise

pytestmark = needs_device

NUM_POSTS = 2800 if IS_CUDA else 28
TEXT = BASE if IS_CUDA else {"max_position_embeddings": 130}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_against_trainer(tmp_path: Path, precision: str) -> None:
    encoder = str(save_text_encoder("bert", tmp_path / "bert", **TEXT))
    tree = CONFIG.model_dump()
    for key, value in {"text.encoder": encoder, "optimisation.precision": precision}.items():
        tree = with_value(tree, key, value)
    config = ExperimentConfig.model_validate(tree)
    examples = drawn_posts(load_tokenizer(encoder), NUM_POSTS)[0]
    learner = learner_of(examples, config, str(DEVICE))
    rows, trainer = trainer_of(
        examples, tmp_path, encoder, use_cpu=not IS_CUDA, bf16=precision == "bf16"
    )
    assert sorted(row["length"] for row in rows) == sorted(learner._split.lengths.tolist())

    def ours() -> None:
        with learner.random.active():
            learner.train_epoch(1, None)
        synchronise()

    slow, fast = best_seconds(trainer, ours, rounds=1)
    print(
        f"\n{device_name()}: {precision}: Trainer {NUM_POSTS / slow:.0f} posts a second, here "
        f"{NUM_POSTS / fast:.0f}; {slow / fast:.2f} times"
    )
    assert slow > 0

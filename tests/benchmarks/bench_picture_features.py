"""A frozen image encoder: an epoch that reads kept features against one that encodes pictures.

Pictures of 224 pixels, a tiny text encoder, one thread; both sides train in turn, and the ratio is
of the best epochs.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from shapca.build import build_model
from shapca.config import ExperimentConfig
from shapca.data.prepared import PreparedData
from shapca.data.synthetic import synthesise
from shapca.model.inputs import encode_split
from shapca.training.learning import Learner
from shapca.training.random_state import RandomState

pytestmark = [pytest.mark.bench, pytest.mark.usefixtures("one_thread")]

NUM_POSTS, ROUNDS = 56, 3
RATIOS = {"resnet18": 3.0, "efficientnet-lite0": 3.0}


@pytest.mark.parametrize("encoder", RATIOS)
def test_kept_features_against_pictures(encoder: str, tmp_path: Path) -> None:
    synthesise(
        tmp_path / "posts",
        task="mner",
        num_train=NUM_POSTS,
        num_valid=1,
        num_test=1,
        image_size=256,
    )
    data = PreparedData.load(tmp_path / "posts")
    config = ExperimentConfig.model_validate(
        {
            "data": {"dataset": "posts", "contexts": data.context_names[0]},
            "text": {"encoder": "tiny"},
            "image": {"encoder": encoder, "weights": "random", "freeze": True},
        }
    )
    model = build_model(config, data.labels)
    device = torch.device("cpu")
    splits = {
        "pictures": encode_split(config, data, "train"),
        "features": encode_split(config, data, "train", model.image),
    }
    learners = {
        name: Learner(
            config, model, split, seed=1, random=RandomState(1, device), device=device,
            num_workers=0,
        )
        for name, split in splits.items()
    }  # fmt: skip
    seconds: dict[str, list[float]] = {name: [] for name in learners}
    for epoch in range(1, ROUNDS + 1):
        for name, learner in learners.items():
            metrics = learner.train_epoch(epoch, None)
            seconds[name].append(metrics["train/seconds"])
    best = {name: min(values) for name, values in seconds.items()}
    ratio = best["pictures"] / best["features"]
    print(f"\n{encoder}: {best['pictures']:.2f} s against {best['features']:.2f} s: {ratio:.1f}")
    assert ratio > RATIOS[encoder]

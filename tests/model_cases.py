"""Models of each task, head and variant of the alignment, for tests that go through all of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from shapca.build import build_model
from shapca.config import ExperimentConfig, Task
from shapca.data.batches.batch import Batch
from shapca.data.prepared import PreparedData
from shapca.model.inputs import encode_split
from shapca.model.network import ShapCA

PRECISIONS = ("fp32", "bf16")
HEADS: dict[Task, list[dict[str, Any]]] = {
    "mner": [{}, {"head.channels": "text", "fusion.kind": "none"}],
    "mre": [
        {"head.contrast.base": "log_probability", "head.reduction": "sum"},
        {"head.contrast.enabled": False, "head.channels": "text", "fusion.kind": "none"},
    ],
    "mjere": [
        {"head.none_weight": 0.5},
        {"head.contrast.auxiliary_loss": 0.3, "head.contrast.detach_text": True},
        {"head.contrast.enabled": False},
    ],
}
VARIANTS: list[dict[str, Any]] = [
    {"alignment.estimator": "cyclic", "alignment.negatives": "sum"},
    {"alignment.estimator": "cyclic", "alignment.negatives": "mean", "alignment.bridge": "direct",
     "alignment.mask_duplicates": True},
    {"alignment.estimator": "monte_carlo"},
    {"alignment.estimator": "exact", "alignment.negatives": "sum", "alignment.temperature": 0.1},
    {"alignment.estimator": "enumerate", "alignment.learn_temperature": True},
    {"alignment.mask_duplicates": True},
    {"alignment.objective": "none"},
    {"alignment.objective": "infonce", "alignment.learn_temperature": True},
    {"alignment.features": "separate", "text.pool": "cls"},
    {"text.encode": "separate", "text.pool": "cls"},
    {"text.freeze": True, "image.freeze": True},
    {"image.encoder": "none", "alignment.objective": "infonce"},
    {"image.encoder": "efficientnet-lite0"},
    {"fusion.kind": "cross_attention", "fusion.reading": "two_hop", "fusion.gate": "sigmoid"},
    {"fusion.kind": "none"},
    {"fusion.reading": "coupled", "fusion.normalise_bridge": True},
]  # fmt: skip


def case_name(case: Any) -> str:
    if isinstance(case, dict):
        return "+".join(f"{key.rpartition('.')[2]}={value}" for key, value in case.items()) or "all"
    return str(case)


def prepared(
    datasets: dict[Task, PreparedData],
    config: ExperimentConfig,
    split: str,
    *,
    without_images: int = 2,
    pictures: bool = False,
) -> tuple[ShapCA, Batch]:
    """A model and a batch on the CPU, some of whose posts have no image.

    Without pictures, the batch holds features of a frozen encoder, which saves time.
    """
    torch.manual_seed(0)
    model = build_model(config, datasets[config.task].labels)
    encoded = encode_split(config, datasets[config.task], split, model.image)
    batch = encoded.collate(range(8))
    if model.image is not None and not pictures:
        model.image.requires_grad_(False)
        features = torch.zeros(8, 5, model.image.width)
        batch = dataclasses.replace(batch, images=features)
    mask = batch.image_mask & (torch.arange(8) >= without_images)
    return model, dataclasses.replace(batch, image_mask=mask)

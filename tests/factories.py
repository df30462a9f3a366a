"""Small configurations and data sets that the tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shapca.config import ExperimentConfig, Task, with_value
from shapca.data.prepared import PreparedData
from shapca.data.synthetic import synthesise

NUM_TRAIN, NUM_VALID, NUM_TEST = 24, 12, 12
IMAGE_SIZE = 40


def tiny_config(task: Task = "mner", **overrides: Any) -> ExperimentConfig:
    """A configuration that trains in a second or two on `tiny_data`.

    Args:
        task: which task's head.
        overrides: dotted keys and their values, e.g. `**{"alignment.alpha": 0.5}`. `image.encoder`
            "none" brings the `fusion.kind` "none" that it needs.
    """
    tree: dict[str, Any] = {
        "task": task,
        "data": {"dataset": f"tiny-{task}", "contexts": "captions"},
        "text": {"encoder": "tiny", "max_length": 64},
        "image": {"encoder": "resnet18", "weights": "random", "size": IMAGE_SIZE},
        "fusion": {"width": 32},
        "head": {"hidden": 32, "channel_width": 8},
        "optimisation": {
            "learning_rate": 2e-3,
            "encoder_learning_rate": 1e-3,
            "batch_size": 8,
            "epochs": 2,
        },
    }
    if overrides.get("image.encoder") == "none":
        overrides.setdefault("fusion.kind", "none")
    for key, value in overrides.items():
        tree = with_value(tree, key, value)
    return ExperimentConfig.model_validate(tree)


def tiny_data(folder: Path, task: Task = "mner", **arguments: Any) -> PreparedData:
    """A small synthetic data set: 24 / 12 / 12 posts with pictures of 40 pixels.

    Args:
        folder: where to make `tiny-<task>`.
        task: which task.
        arguments: further arguments of `synthesise`.
    """
    sizes = {"num_train": NUM_TRAIN, "num_valid": NUM_VALID, "num_test": NUM_TEST}
    out = folder / f"tiny-{task}"
    synthesise(out, task=task, **{**sizes, "image_size": IMAGE_SIZE, **arguments})
    return PreparedData.load(out)

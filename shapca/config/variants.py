"""The paper's rows (Tables 1 and 2) as changes to the config of a full model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shapca.config.files import with_value
from shapca.config.sections import Task
from shapca.errors import InputError

FULL_MODEL = "shap-ca"

# The plain baselines: encoder and head with the text channel alone.
_PLAIN: dict[str, Any] = {
    "image.encoder": "none",
    "alignment.objective": "none",
    "fusion.kind": "none",
    "head.channels": "text",
    "head.contrast.enabled": False,
}

VARIANTS: dict[str, dict[str, Any]] = {
    FULL_MODEL: {},
    "without-context-in-alignment": {"alignment.bridge": "direct"},
    "without-context-in-fusion": {"fusion.kind": "cross_attention"},
    # InfoNCE at the temperature that was best for it on real pairs; Shapley values want another.
    "without-shapley-value": {"alignment.objective": "infonce", "alignment.temperature": 0.2},
    "equation-5-as-printed": {
        "alignment.negatives": "sum",
        "alignment.estimator": "cyclic",
        "alignment.temperature": 0.1,
    },
    "without-word-pair-contrastive": {"head.contrast.enabled": False},
    "without-image": {"image.encoder": "none", "fusion.kind": "none"},
    "concat-baseline": _PLAIN,
    "text-only": _PLAIN | {"data.contexts": None},
    "clip-vit-b-32": {"image.encoder": "clip-vit-b-32"},
}
"""Name of a row to its dotted overrides of the full model."""


def overrides_for(name: str, task: Task) -> dict[str, Any]:
    """A row's overrides as far as they concern a task: MNER has no word pairs to contrast.

    Raises:
        InputError: no row of that name.
    """
    if name not in VARIANTS:
        raise InputError(f"variant {name!r}: expected one of {', '.join(VARIANTS)}")
    return {
        key: value
        for key, value in VARIANTS[name].items()
        if task != "mner" or not key.startswith("head.contrast.")
    }


def applies_to(name: str, task: Task) -> bool:
    """Whether a row exists for a task; where it does not, its cell is n/a."""
    return name == FULL_MODEL or bool(overrides_for(name, task))


def apply_variant(tree: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The config tree of a row, from that of the full model.

    Args:
        tree: sections of an `ExperimentConfig` as a file gives them.
        name: a key of `VARIANTS`.

    Raises:
        InputError: no row of that name, or none for the tree's task.
    """
    task: Task = tree.get("task", "mner")
    if not applies_to(name, task):
        raise InputError(f"variant {name!r} changes nothing for {task}: n/a")
    changed = dict(tree)
    for key, value in overrides_for(name, task).items():
        changed = with_value(changed, key, value)
    return changed

"""Encoders of every family, and a compiled model, on a real GPU."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from shapca.config import ExperimentConfig, Task
from shapca.data.prepared import PreparedData
from shapca.training.learning import _compile
from tests.encoder_families import IMAGE_FAMILIES, SAVE, TEXT_FAMILIES
from tests.factories import tiny_config
from tests.gpu.device import DEVICE, IS_CUDA, needs_device
from tests.gpu.steps import assert_trains_as_on_the_cpu, assert_waits_for_nothing, train
from tests.model_cases import PRECISIONS, prepared

pytestmark = needs_device

LOOK_INTO_THE_MASK = ("deberta-v3", "mpnet")
"""Families whose code in transformers reads off the device whether anything is masked."""
FAMILIES = [("text", name) for name in TEXT_FAMILIES] + [("image", name) for name in IMAGE_FAMILIES]


def config_of(part: str, family: str, folder: Path) -> ExperimentConfig:
    return tiny_config(**{f"{part}.encoder": str(SAVE[part](family, folder / family))})


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("part", "family"), FAMILIES)
def test_training_steps_agree_with_the_cpu(
    tiny_mner: PreparedData, tmp_path: Path, part: str, family: str, precision: str
) -> None:
    config = config_of(part, family, tmp_path)
    model, batch = prepared({"mner": tiny_mner}, config, "train", pictures=part == "image")
    assert_trains_as_on_the_cpu(model, batch, precision)


@pytest.mark.parametrize(("part", "family"), FAMILIES)
def test_a_training_step_waits_for_nothing(
    tiny_mner: PreparedData, tmp_path: Path, part: str, family: str, request: pytest.FixtureRequest
) -> None:
    if family in LOOK_INTO_THE_MASK and IS_CUDA:
        request.applymarker(pytest.mark.xfail(strict=True, raises=RuntimeError))
    config = config_of(part, family, tmp_path)
    model, batch = prepared({"mner": tiny_mner}, config, "train", pictures=part == "image")
    assert_waits_for_nothing(model, batch, "bf16")


@pytest.mark.parametrize(("task", "precision"), [("mner", "fp32"), ("mjere", "bf16")])
def test_a_compiled_model_trains_like_an_uncompiled_one(
    tiny_datasets: dict[Task, PreparedData], task: Task, precision: str
) -> None:
    model, batch = prepared(tiny_datasets, tiny_config(task), "train", pictures=True)
    compiled = copy.deepcopy(model).to(DEVICE)
    _compile(compiled, "inductor")
    expected, found = (
        train(one, batch.to(DEVICE), precision)[0] for one in (model.to(DEVICE), compiled)
    )
    rtol = 1e-4 if precision == "fp32" else 2e-2
    torch.testing.assert_close(found[0], expected[0], rtol=rtol, atol=1e-5)
    torch.testing.assert_close(found, expected, rtol=max(rtol, 2e-2), atol=1e-4)

"""Training and predicting on a GPU that is not there: no device is mixed, none waited for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Generator, Tensor
from torch._subclasses import FakeTensor

from shapca.alignment.health import AlignmentHealth
from shapca.config import Task
from shapca.data.prepared import PreparedData
from shapca.training.optimisation import Optimiser
from tests.factories import tiny_config
from tests.fake_cuda import DEVICE, Recorder, backward, fake_cuda, onto_device
from tests.model_cases import HEADS, PRECISIONS, VARIANTS, case_name, prepared

Datasets = dict[Task, PreparedData]

CASES = [
    pytest.param(task, changes, PRECISIONS[(place + turn) % 2], marks=marks)
    for turn, marks in enumerate(([], [pytest.mark.slow]))  # each precision at one of the turns
    for task, heads in HEADS.items()
    for place, changes in enumerate(heads)
] + [("mner", changes, PRECISIONS[place % 2]) for place, changes in enumerate(VARIANTS)]


@pytest.mark.parametrize(("task", "changes", "precision"), CASES, ids=case_name)
def test_a_training_step_waits_for_nothing_and_mixes_no_devices(
    tiny_datasets: Datasets, task: Task, changes: dict[str, Any], precision: str
) -> None:
    pictures = not changes or "image.encoder" in changes
    config = tiny_config(task, **changes)
    model, batch = prepared(tiny_datasets, config, "train", pictures=pictures)
    with fake_cuda() as mode:
        onto_device(model, mode)
        optimiser = Optimiser(
            model.parameter_groups(0.01, 1e-3, 1e-4), num_steps=9, warmup_ratio=0.1, clip_norm=1.0
        )
        with Recorder() as recorder:
            on_device = batch._map(mode.from_tensor).to(DEVICE)
            with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16"):
                output = model(on_device, Generator().manual_seed(0))
            backward(output.loss)
            without = [
                key for key, p in model.named_parameters() if p.requires_grad and p.grad is None
            ]
            norm = optimiser.step()
        assert recorder.waits == recorder.to_host == recorder.mixed == []
        assert output.loss.device == norm.device == DEVICE
        assert without == []
        assert ("_to_copy" in recorder.kernels) or precision == "fp32"
        assert any(op.startswith("_fused_adamw") for op in recorder.kernels)


@pytest.fixture
def unread() -> Iterator[None]:
    """Tensors without content cannot be read: what is made of them on the host is left out."""
    with (
        mock.patch("shapca.model.heads.crf.viterbi", return_value=[]),
        mock.patch.object(FakeTensor, "tolist", return_value=[]),
        mock.patch.object(Tensor, "numpy", return_value=[]),
    ):
        yield


@pytest.mark.parametrize(("features", "precision"), [("shared", "fp32"), ("separate", "bf16")])
@pytest.mark.usefixtures("unread")
def test_a_prediction_is_one_copy_to_the_host(
    tiny_datasets: Datasets, task: Task, features: str, precision: str
) -> None:
    config = tiny_config(task, **{"alignment.features": features})
    model, batch = prepared(tiny_datasets, config, "valid")
    health = AlignmentHealth(read_together=False)
    with fake_cuda() as mode:
        onto_device(model.eval(), mode)
        with (
            Recorder() as recorder,
            torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16"),
        ):
            model.predict(batch._map(mode.from_tensor).to(DEVICE), health)
    assert recorder.waits == recorder.mixed == []
    assert len(recorder.to_host) == 1


@pytest.fixture(params=["mner", "mre", "mjere"])
def task(request: pytest.FixtureRequest) -> Task:
    return request.param


@pytest.mark.parametrize("missing", [0, 8])
def test_batches_with_all_images_and_with_none_wait_for_nothing(
    tiny_datasets: Datasets, missing: int
) -> None:
    model, batch = prepared(
        tiny_datasets, tiny_config(), "train", without_images=missing, pictures=True
    )
    with fake_cuda() as mode:
        onto_device(model, mode)
        with Recorder() as recorder:
            backward(model(batch._map(mode.from_tensor).to(DEVICE), Generator()).loss)
    assert recorder.waits == recorder.to_host == recorder.mixed == []


@pytest.mark.parametrize("encoder", ["resnet18", "efficientnet-lite0"])
def test_pictures_are_laid_out_as_convolutions_on_a_gpu_want_them(
    tiny_datasets: Datasets, encoder: str
) -> None:
    config = tiny_config(**{"image.encoder": encoder})
    model, batch = prepared(tiny_datasets, config, "train", pictures=True)
    image, given = model.image.eval(), []
    image.backbone.register_forward_pre_hook(lambda _, arguments: given.append(arguments[0]))
    images = (batch.images, batch.image_mask, batch.image_rows)
    with torch.no_grad():
        image(*images)
        plain, last = image.backbone(given[0]), image.backbone(channels_last(given[0]))
    torch.testing.assert_close(plain, last)  # where the numbers lie changes none
    with fake_cuda() as mode:
        onto_device(image, mode)
        image(*(mode.from_tensor(tensor).to(DEVICE) for tensor in images))
    laid_out = [pixels.is_contiguous(memory_format=torch.channels_last) for pixels in given]
    assert laid_out == [False, False, True, True]  # as called above


def channels_last(pixels: Tensor) -> Tensor:
    return pixels.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("act", "noted"),
    [
        (lambda x: x.nonzero(), "nonzero"),
        (lambda x: x[x > 0], "index"),
        (lambda x: x.sum().item(), "_local_scalar_dense"),
        (lambda x: bool((x > 0).all()), "_local_scalar_dense"),
        (lambda x: x + torch.ones(3).to(DEVICE), "_to_copy to the device"),
    ],
)
def test_what_waits_is_seen(act: Any, noted: str) -> None:
    with fake_cuda(), Recorder() as recorder:
        x = torch.ones(3, device=DEVICE)
        with pytest.raises(Exception) if "device" not in noted else mock.MagicMock():
            act(x)
    assert [wait.split(" /")[0].strip() for wait in recorder.waits] == [noted]


def test_copies_to_the_host_and_mixed_devices_are_seen() -> None:
    with fake_cuda(), Recorder() as recorder:
        x = torch.ones(3, device=DEVICE)
        x.cpu()
        with pytest.raises(RuntimeError, match="device"):
            x + torch.ones(3)
    assert len(recorder.to_host) == 1


def test_the_graph_is_walked_as_torch_walks_it(tiny_datasets: Datasets, task: Task) -> None:
    """On the CPU, where torch's own backward pass runs too, the gradients are the same."""
    config = tiny_config(task, **{"alignment.features": "separate"})
    model, batch = prepared(tiny_datasets, config, "train")
    model.eval()
    gradients = []
    for walk in (backward, Tensor.backward):
        walk(model(batch, Generator().manual_seed(0)).loss)
        gradients.append({key: p.grad for key, p in model.named_parameters()})
        model.zero_grad()
    for key, found in gradients[0].items():
        torch.testing.assert_close(found, gradients[1][key], msg=key)

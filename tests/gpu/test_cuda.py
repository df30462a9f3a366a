"""What a real GPU computes is what the CPU computes, without waiting for it, bit by bit again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from shapca.config import RuntimeConfig, Task
from shapca.data.batches.loader import on_device
from shapca.data.prepared import PreparedData
from shapca.evaluation.evaluate import predict_split
from shapca.model.heads.crf import CRF
from shapca.model.heads.partition import Recursion, Scan
from shapca.model.inputs import encode_split
from shapca.training import fit
from tests.factories import tiny_config
from tests.gpu.device import DEVICE, IS_CUDA, needs_device
from tests.gpu.steps import assert_trains_as_on_the_cpu, assert_waits_for_nothing
from tests.head_batches import prefix_mask
from tests.model_cases import HEADS, PRECISIONS, VARIANTS, case_name, prepared
from tests.oracles import crf as oracle
from tests.stores import MemoryStore

pytestmark = needs_device

Datasets = dict[Task, PreparedData]
CASES = [
    *((task, changes, precision)
      for task, heads in HEADS.items() for changes in heads for precision in PRECISIONS),
    *(("mner", changes, PRECISIONS[place % 2]) for place, changes in enumerate(VARIANTS)),
]  # fmt: skip


@pytest.fixture(params=["mner", "mre", "mjere"])
def task(request: pytest.FixtureRequest) -> Task:
    return request.param


@pytest.mark.parametrize(
    ("task", "changes", "precision"),
    CASES,
    ids=case_name,
)
def test_training_steps_agree_with_the_cpu(
    tiny_datasets: Datasets, task: Task, changes: dict[str, Any], precision: str
) -> None:
    pictures = not changes or "image.encoder" in changes
    config = tiny_config(task, **changes)
    model, batch = prepared(tiny_datasets, config, "train", pictures=pictures)
    assert_trains_as_on_the_cpu(model, batch, precision)


@pytest.mark.parametrize(("task", "changes", "precision"), CASES, ids=case_name)
def test_a_training_step_waits_for_nothing(
    tiny_datasets: Datasets, task: Task, changes: dict[str, Any], precision: str
) -> None:
    pictures = not changes or "image.encoder" in changes
    config = tiny_config(task, **changes)
    model, batch = prepared(tiny_datasets, config, "train", pictures=pictures)
    assert_waits_for_nothing(model, batch, precision)


def test_predictions_are_those_of_the_cpu(tiny_datasets: Datasets, task: Task) -> None:
    """In float64, where no choice between near equals hangs on rounding."""
    config = tiny_config(task)
    model, _ = prepared(tiny_datasets, config, "train")
    split = encode_split(config, tiny_datasets[task], "valid")
    model, labels = model.double(), tiny_datasets[task].labels
    expected, found = (
        predict_split(model.to(device), split, labels, batch_size=5, device=device)
        for device in (torch.device("cpu"), DEVICE)
    )
    assert found == expected
    assert len(set(map(str, expected))) > 1


def test_batches_arrive_whole_while_the_device_computes(tiny_datasets: Datasets) -> None:
    split = encode_split(tiny_config(), tiny_datasets["mner"], "train")
    batches = [split.collate(range(start, start + 4)) for start in range(0, 24, 4)]
    pinned = (batch.pin_memory() if IS_CUDA else batch for batch in batches)
    square, sums = torch.randn(2048, 2048, device=DEVICE), []
    for there in on_device(pinned, DEVICE):
        square = (square @ square).tanh()  # what is copied next would overtake it
        sums.append(torch.stack([v.double().sum() for v in vars(there).values()
                                 if isinstance(v, Tensor)]))  # fmt: skip
        del there
    for found, batch in zip(sums, batches, strict=True):
        expected = [v.double().sum() for v in vars(batch).values() if isinstance(v, Tensor)]
        assert found.tolist() == [value.item() for value in expected]


@pytest.mark.parametrize("way", [Recursion, Scan], ids=lambda way: way.__name__)
def test_the_crf_is_the_one_word_by_word(way: Any) -> None:
    torch.manual_seed(0)
    mask, crf = prefix_mask([40, 1, 17, 28, 40]), CRF(9).double()
    emissions = (3 * torch.randn(*mask.shape, 9)).double()
    tags = torch.randint(9, mask.shape) * mask
    weights = (crf.start_transitions, crf.transitions, crf.end_transitions)

    def of_paths(device: torch.device) -> list[Tensor]:
        given = emissions.to(device).requires_grad_()
        placed = [w.detach().to(device).requires_grad_() for w in weights]
        values = way.apply(given, mask.to(device), *placed)
        found = torch.autograd.grad(values.sum(), [given, *placed])
        return [values, *found]

    for found, expected in zip(of_paths(DEVICE), of_paths(torch.device("cpu")), strict=True):
        torch.testing.assert_close(found.cpu(), expected)
    likelihood = crf.to(DEVICE)(emissions.to(DEVICE), tags.to(DEVICE), mask.to(DEVICE))
    expected = oracle.log_likelihood(crf.cpu(), emissions, tags, mask)
    torch.testing.assert_close(likelihood.cpu(), expected)


@pytest.fixture
def deterministic(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Kernels that add up in a fixed order, as far as torch has them."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("deterministic")
def test_a_run_taken_up_again_ends_like_one_undisturbed(
    tiny_datasets: Datasets, task: Task
) -> None:
    config = tiny_config(task, **{"optimisation.epochs": 3, "head.dropout": 0.2})
    runtime = RuntimeConfig(device=str(DEVICE))

    def run(store: MemoryStore, **options: Any) -> None:
        fit(config, tiny_datasets[task], seed=5, runtime=runtime, store=store, **options)

    whole, again, resumed = MemoryStore(), MemoryStore(), MemoryStore()
    run(whole)
    run(again)
    assert contents(again) == contents(whole), "two runs of a seed differ"
    run(resumed, on_epoch=lambda record: record.epoch == 1)
    run(resumed, on_epoch=lambda record: record.epoch == 2)
    run(resumed)
    assert contents(resumed) == contents(whole)


def contents(store: MemoryStore) -> dict[str, Any]:
    """Weights, scores and losses of a run, by name."""
    kept: dict[str, Any] = {}
    for name, content in store.objects.items():
        if name.endswith(".safetensors"):
            kept[name] = content
        elif name.startswith("epochs/"):
            measured = ("seconds", "_mb", "per_second", "share")
            metrics = json.loads(content)["metrics"]
            kept[name] = {k: v for k, v in metrics.items() if not k.endswith(measured)}
    assert any(name.endswith(".safetensors") for name in kept)
    return kept

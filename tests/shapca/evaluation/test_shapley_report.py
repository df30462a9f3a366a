"""The report on the error of Algorithm 1: its figures, and its command."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from shapca import shapley
from shapca.alignment import Similarities, shapley_contrastive_loss
from shapca.cli import app, run_application
from shapca.config import RuntimeConfig, Task
from shapca.data.prepared import PreparedData
from shapca.errors import InputError
from shapca.evaluation.shapley_report import (
    DirectionReport,
    meaning_of,
    measure,
    report_on_run,
)
from shapca.storage import FolderStore
from shapca.training import fit
from tests.factories import tiny_config
from tests.stores import MemoryStore

RUNTIME = RuntimeConfig(device="cpu", num_threads=1)
Datasets = dict[Task, PreparedData]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def similarities(mask: Tensor | None = None, num_posts: int = 6, seed: int = 0) -> Similarities:
    matrix = torch.rand(1, num_posts, num_posts, generator=seeded(seed)) * 2 - 1
    if mask is None:
        mask = torch.ones(num_posts, dtype=torch.bool)
    return Similarities(("a to b", "b to a"), torch.cat((matrix, matrix.mT)), mask.expand(2, -1))


def rms(values: Tensor) -> float:
    return float(values.double().square().mean().sqrt())


def one_draw(negatives: Any = "sum") -> tuple[DirectionReport, Similarities]:
    batch = similarities()
    reports = measure(iter([batch]), 0.1, negatives, num_draws=1, generator=seeded(5))
    return reports[0], batch


@pytest.mark.parametrize("negatives", ["sum", "mean"])
def test_the_figures_of_one_batch_and_one_draw(negatives: Any) -> None:
    report, batch = one_draw(negatives)
    matrices = batch.matrices.double()
    exact = shapley.enumerate_coalitions(matrices, 0.1)
    # The report draws its permutations for values first, then for losses.
    generator = seeded(5)
    found = shapley.cyclic(matrices[None], 0.1, generator=generator)[0]
    other = matrices[None].clone().requires_grad_()
    losses = shapley_contrastive_loss(other, 0.1, "cyclic", negatives, generator=generator)
    exact_input = matrices.clone().requires_grad_()
    exact_losses = shapley_contrastive_loss(exact_input, 0.1, "enumerate", negatives)
    (slope,) = torch.autograd.grad(losses.sum(), other)
    (exact_slope,) = torch.autograd.grad(exact_losses.sum(), exact_input)
    error = slope[0, 0] - exact_slope[0]

    own = torch.eye(6, dtype=torch.bool)
    expected = DirectionReport(
        direction="a to b",
        num_batches=1,
        mean_players=6.0,
        positive_similarity=float(matrices[0][own].mean()),
        negative_similarity=float(matrices[0][~own].mean()),
        value_size=rms(exact[0]),
        value_error=rms(found[0] - exact[0]),
        own_value_size=rms(exact[0][own]),
        own_value_error=rms((found[0] - exact[0])[own]),
        loss=exact_losses[0].item(),
        loss_error=(losses[0, 0] - exact_losses[0]).abs().item(),
        gradient_error=float(error.norm() / exact_slope[0].norm()),
        gradient_cosine=float(
            torch.cosine_similarity(slope[0, 0].flatten(), exact_slope[0].flatten(), dim=0)
        ),
    )
    assert vars(report) == {
        name: value if isinstance(value, str | int) else pytest.approx(value, abs=1e-7)
        for name, value in vars(expected).items()
    }
    assert report.value_error > 0.01


def test_absent_posts_are_left_out() -> None:
    mask = torch.tensor([1, 0, 1, 1, 0, 1], dtype=torch.bool)
    batch = similarities(mask)
    kept = mask.nonzero()[:, 0]
    smaller = Similarities(
        batch.names, batch.matrices[:, kept][:, :, kept], torch.ones(2, 4, dtype=torch.bool)
    )
    found, expected = (
        measure(iter([x]), 0.1, "sum", num_draws=2000, generator=seeded())[1]
        for x in (batch, smaller)
    )
    for name, value in vars(expected).items():
        sampled = name.endswith("error") or name == "gradient_cosine"
        tolerance = 0.05 if sampled else 1e-9
        wanted = value if isinstance(value, str) else pytest.approx(value, rel=tolerance)
        assert getattr(found, name) == wanted, name


def test_batches_add_up_and_those_without_pairs_count_for_nothing() -> None:
    lonely = torch.tensor([True] + [False] * 5)
    batches = [similarities(seed=1), similarities(lonely, seed=2), similarities(seed=3)]
    reports = measure(iter(batches), 0.1, "sum", num_draws=4, generator=seeded())
    assert [report.direction for report in reports] == ["a to b", "b to a"]
    report = reports[0]
    assert report.num_batches == 2
    assert report.mean_players == 6.0
    exact = [shapley.enumerate_coalitions(batches[i].matrices[0].double(), 0.1) for i in (0, 2)]
    assert report.value_size == pytest.approx(rms(torch.stack(exact)), abs=1e-7)

    nothing = measure(iter([batches[1]]), 0.1, "sum", num_draws=4, generator=seeded())[0]
    figures = {name: value for name, value in vars(nothing).items() if name != "direction"}
    assert all(value == 0 for value in figures.values())
    with pytest.raises(ValueError, match="at least one"):
        measure(iter([]), 0.1, "sum", num_draws=1, generator=seeded())


def test_more_draws_tell_the_known_error_at_28_players() -> None:
    noise = torch.randn(1, 28, 28, generator=seeded())
    matrix = (0.75 + 0.06 * noise).clamp(-1, 1)
    batch = Similarities(("a",), matrix, torch.ones(1, 28, dtype=torch.bool))
    (report,) = measure(iter([batch]), 0.1, "sum", num_draws=20, generator=seeded())
    assert report.value_error == pytest.approx(0.066, abs=0.004)
    assert report.gradient_error > 0
    assert math.isfinite(report.gradient_cosine)


@pytest.mark.parametrize(
    ("gaps", "read_together", "meaning"),
    [
        (
            [(0.78, 0.02), (-0.97, -0.98)],
            True,
            "Context and text agree trivially: one pass reads them together, so that no alignment "
            "is needed (mean cosine 0.78, of other pairs 0.02); context and image have collapsed: "
            "true pairs look like any other (mean cosine -0.97, of other pairs -0.98).",
        ),
        (
            [(0.78, 0.02), (0.25, 0.20)],
            False,
            "Context and text are aligned (mean cosine 0.78, of other pairs 0.02); context and "
            "image have collapsed: true pairs look like any other (mean cosine 0.25, of other "
            "pairs 0.20).",
        ),
        ([(-0.5, -0.5)], True, "Context and text have collapsed: true pairs look like any other "
         "(mean cosine -0.50, of other pairs -0.50)."),
    ],
)  # fmt: skip
def test_a_sentence_says_what_the_figures_mean(
    gaps: list[tuple[float, float]], read_together: bool, meaning: str
) -> None:
    report, _ = one_draw()
    names = ("context to text", "context to image")
    directions = tuple(
        dataclasses.replace(
            report, direction=name, positive_similarity=positive, negative_similarity=negative
        )
        for name, (positive, negative) in zip(names[: len(gaps)], gaps, strict=True)
    )
    assert meaning_of(2 * directions, read_together=read_together) == meaning
    nothing = dataclasses.replace(report, direction="context to image", num_batches=0)
    found = meaning_of((nothing, nothing), read_together=True)
    assert found == "No pairs to compare."


@pytest.fixture(scope="module")
def store(tiny_datasets: Datasets) -> MemoryStore:
    made = MemoryStore()
    fit(tiny_config("mner"), tiny_datasets["mner"], seed=1, runtime=RUNTIME, store=made)
    return made


def test_a_report_on_a_run(store: MemoryStore, tiny_datasets: Datasets) -> None:
    reports = [
        report_on_run(
            store, tiny_datasets["mner"], num_batches=2, num_draws=3, seed=seed, runtime=RUNTIME
        )
        for seed in (0, 0, 1)
    ]
    first = reports[0]
    assert first == reports[1] != reports[2]
    assert (first.temperature, first.negatives) == (1.0, "softmax")
    assert (first.batch_size, first.num_batches, first.num_draws) == (8, 2, 3)
    assert [report.direction for report in first.directions] == [
        "context to text", "context to image", "text to context", "image to context"
    ]  # fmt: skip
    for report in first.directions:
        assert 1 < report.mean_players <= 8
        assert 0 < report.value_error < 1
        assert -1 <= report.gradient_cosine <= 1
    assert first.meaning.startswith("Context and text ")
    assert "; context and image " in first.meaning
    # Both directions of an alignment look at the same pairs.
    assert first.directions[0].positive_similarity == first.directions[2].positive_similarity


def test_what_cannot_be_reported_on(store: MemoryStore, tiny_datasets: Datasets) -> None:
    data = tiny_datasets["mner"]
    with pytest.raises(InputError, match="split 'dev': expected one of train, valid, test"):
        report_on_run(store, data, split="dev", runtime=RUNTIME)
    with pytest.raises(InputError, match="a data set for mre, the run is one for mner"):
        report_on_run(store, tiny_datasets["mre"], runtime=RUNTIME)
    with pytest.raises(InputError, match="no run here"):
        report_on_run(MemoryStore(), data, runtime=RUNTIME)
    plain = MemoryStore()
    config = tiny_config(
        **{"image.encoder": "none", "alignment.objective": "none", "optimisation.epochs": 1}
    )
    fit(config, data, seed=1, runtime=RUNTIME, store=plain)
    with pytest.raises(InputError, match="the model has no alignment"):
        report_on_run(plain, data, runtime=RUNTIME)


def test_the_command(
    store: MemoryStore,
    tiny_datasets: Datasets,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = FolderStore(tmp_path / "run")
    for name, content in store.objects.items():
        folder.put(name, content)
    data = tiny_datasets["mner"].folder
    arguments = ["shapley-report", str(folder.root), "--data", str(data), "--draws", "2",
                 "--batches", "1", "--device", "cpu"]  # fmt: skip

    def call(*more: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            run_application(app, [*arguments, *more])
        return int(ended.value.code or 0), capsys.readouterr().out

    code, shown = call("--json")
    assert code == 0
    record = json.loads(shown)
    assert record["num_draws"] == 2
    assert record["split"] == "valid"
    assert record["directions"][0]["direction"] == "context to text"
    code, shown = call()
    assert code == 0
    assert "cyclic against exact" in shown
    assert "gradient, cosine" in shown
    assert record["meaning"] in " ".join(shown.split())
    assert call("--split", "dev")[0] == 2
    assert call("--draws", "0")[0] == 2

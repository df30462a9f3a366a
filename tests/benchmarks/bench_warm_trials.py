"""What a trial costs beyond its training, beside plain Ray Tune with its MLflow callback.

The same cells (tiny synthetic data, the same configurations and seeds) are trained one by one
on the same local Ray, both ways tracked to SQLite. The cost of a cell is taken from the records of
its epochs alone: the time from one cell's last epoch to the next cell's last one, less the seconds
of its epochs. The first cell, which waits for Ray and imports, does not count.
"""

from __future__ import annotations

import json
import os
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import Any

import pytest

from orchestrator.cluster.session import RayOptions, ray_session
from orchestrator.config.sweep import SweepConfig
from orchestrator.sweeps.driver import SweepOptions, run_sweep
from orchestrator.tracking.client.client import Tracking
from tests.factories import tiny_config, tiny_data
from tests.paths import ROOT

pytestmark = pytest.mark.bench

RATES = [round(1e-3 + 1e-4 * n, 6) for n in range(9)]
EPOCHS = 3
LIMIT_SECONDS = 0.7
LEAST_RATIO = 5.0


def sweep_config() -> SweepConfig:
    experiment = tiny_config(**{"image.encoder": "none", "optimisation.epochs": EPOCHS})
    return SweepConfig.model_validate(
        {
            "name": "warm",
            "experiment": experiment.model_dump(mode="json", exclude_defaults=True),
            "space": {"optimisation.learning_rate": {"type": "choice", "values": RATES}},
            "protocol": {"kind": "single", "sampler": "grid", "trials": len(RATES)},
            "scheduler": {"kind": "none"},
            "resources": {"max_concurrent": 1},
        }
    )


def plain_trial(settings: dict[str, Any]) -> None:
    """What one would write: import, load, train, report."""
    import torch
    import transformers  # noqa: F401
    from ray import tune

    from shapca.config import ExperimentConfig, RuntimeConfig
    from shapca.data.prepared import PreparedData
    from shapca.storage import FolderStore
    from shapca.training import fit

    torch.set_num_threads(1)
    config = ExperimentConfig.model_validate(settings["experiment"])
    config = config.model_copy(
        update={
            "optimisation": config.optimisation.model_copy(update={"learning_rate": settings["lr"]})
        }
    )
    fit(
        config,
        PreparedData.load(settings["data"]),
        seed=1,
        runtime=RuntimeConfig(num_threads=1),
        store=FolderStore(Path(settings["out"], f"{settings['lr']}")),
        on_epoch=lambda record: tune.report({"f1": record.metrics["val/f1"]}),
    )


def run_plainly(data: Path, out: Path, uri: str) -> None:
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    settings = {
        "experiment": sweep_config().experiment,
        "data": str(data),
        "out": str(out),
        "lr": tune.grid_search(RATES),
    }
    tune.Tuner(
        tune.with_resources(plain_trial, {"cpu": 1}),
        param_space=settings,
        tune_config=tune.TuneConfig(max_concurrent_trials=1),
        run_config=tune.RunConfig(
            name="plain",
            storage_path=str(out / "tune"),
            verbose=0,
            callbacks=[MLflowLoggerCallback(tracking_uri=uri, experiment_name="plain")],
        ),
    ).fit()


def costs(cells: list[Path]) -> list[float]:
    """Seconds of every cell but the first that are not its epochs', in the order of training."""
    trained = [
        [json.loads(file.read_text()) for file in sorted(cell.glob("epochs/*.json"))]
        for cell in cells
    ]
    trained.sort(key=lambda records: records[-1]["finished_at"])
    return [
        after[-1]["finished_at"]
        - before[-1]["finished_at"]
        - sum(record["seconds"] for record in after)
        for before, after in pairwise(trained)
    ]


def test_a_trial_costs_little_beyond_its_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    data = tiny_data(tmp_path / "data").folder
    uris = {name: f"sqlite:///{tmp_path}/{name}.db" for name in ("ours", "plain")}
    for uri in uris.values():
        Tracking(uri).experiment("migrated")
    with ray_session(RayOptions()):
        run_plainly(data, tmp_path / "plain", uris["plain"])
        outcome = run_sweep(
            sweep_config(),
            SweepOptions(
                storage=str(tmp_path / "storage"), tracking_uri=uris["ours"], data_root=data.parent
            ),
        )
    assert outcome.counts["finished"] == len(RATES)
    plain = costs([path.parent for path in tmp_path.glob("plain/*/result.json")])
    ours = costs([path.parent for path in tmp_path.glob("storage/cells/*/result.json")])
    assert len(plain) == len(ours) == len(RATES) - 1
    ratio = fmean(plain) / fmean(ours)
    print(
        f"\n{len(RATES)} cells of {EPOCHS} epochs, one at a time, load {os.getloadavg()[0]:.1f}: "
        f"a cell costs {fmean(ours):.2f} s beyond its epochs (median {median(ours):.2f}), with "
        f"plain Ray Tune and its MLflow callback {fmean(plain):.2f} s (median "
        f"{median(plain):.2f}): {ratio:.1f} times as much"
    )
    assert median(ours) < LIMIT_SECONDS
    assert ratio > LEAST_RATIO

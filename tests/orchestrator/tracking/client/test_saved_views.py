"""Views of MLflow's table of runs that are kept with an experiment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from orchestrator.tracking.client.saved_views import AVERAGES, SavedView, link, views
from orchestrator.tracking.publisher import Publisher
from shapca.storage import FolderStore
from tests.orchestrator.publishing import SWEEP, whole_sweep


@pytest.fixture
def client(tmp_path: Path, mlflow_uri: str) -> MlflowClient:
    """MLflow with a published sweep."""
    store = FolderStore(tmp_path / "storage")
    whole_sweep(store)
    Publisher(store, SWEEP, SWEEP, mlflow_uri).reconcile()
    return MlflowClient(tracking_uri=mlflow_uri)


def test_an_experiment_has_the_views_and_unfolds_its_parents(client: MlflowClient) -> None:
    experiment = client.get_experiment_by_name(SWEEP)
    assert experiment is not None
    for view in views(("optimisation.learning_rate",)):
        kept = json.loads(experiment.tags[view.tag])
        assert kept["name"] == view.name
        assert isinstance(kept["createdAt"], int)
        assert json.loads(kept["state"])["selectedColumns"] == list(view.columns)
    for run in client.search_runs([experiment.experiment_id]):
        is_child = "mlflow.parentRunId" in run.data.tags
        assert (run.data.tags.get("mlflow.runType") == "evaluation") == is_child


@pytest.mark.parametrize("view", views(()), ids=lambda view: view.key)
def test_mlflow_understands_what_a_view_asks_for(client: MlflowClient, view: SavedView) -> None:
    experiment = client.get_experiment_by_name(SWEEP)
    assert experiment is not None
    found = client.search_runs(
        [experiment.experiment_id],
        view.search,
        order_by=[f"{view.order} {'ASC' if view.ascending else 'DESC'}"],
    )
    kinds = {run.data.tags["kind"] for run in found}
    wanted = {"averages": {"sweep", "configuration", "cell"}, "best": {"configuration"}}
    assert kinds == wanted.get(view.key, {"cell"})


def test_a_link_names_experiment_and_view() -> None:
    assert link("http://127.0.0.1:5000", "7") == (
        "http://127.0.0.1:5000/#/experiments/7/runs?workflowType=machine_learning"
        f"&viewStateShareKey={AVERAGES}&compareRunsMode=CHART"
    )

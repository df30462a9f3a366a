"""What MLflow shows of an experiment when it is opened: views saved with the experiment.

MLflow opens an experiment with no metric beside the runs and with children folded away. It keeps
views as tags of the experiment, under its "Views" button and behind links. Those written here show
what a run came to beside its name, the parameters that were varied, and first of all charts the
learning curves. Runs are unfolded where their children are of MLflow's type `evaluation`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

TAG = "mlflow.sharedViewState."
RUN_TYPE = ("mlflow.runType", "evaluation")
_FIRST = ("attributes.`Run Name`", "runDateAndNestInfo")
_SECTION = "overview"  # sorts before those of MLflow's own charts, `train`, `val` …
_WIDTHS = {"attributes.`Run Name`": 250, "tags.`result`": 210}


@dataclass(frozen=True)
class SavedView:
    """One view of an experiment's runs.

    Attributes:
        key: Stands in the link.
        name: Stands under "Views".
        columns: As MLflow names them, from left to right.
        search: Which runs; empty: all.
        order: By what; MLflow nests children under their parents only where that is the start.
        ascending: Whether the smallest comes first.
        charts: What stands above MLflow's own charts.
    """

    key: str
    name: str
    columns: tuple[str, ...]
    search: str = ""
    order: str = "attributes.start_time"
    ascending: bool = False
    charts: Sequence[dict[str, Any]] = field(default=())

    @property
    def tag(self) -> str:
        """The tag of the experiment that keeps it."""
        return TAG + self.key

    @property
    def content(self) -> str:
        """The tag's value; always the same, so that writing it again changes nothing."""
        order = (*_FIRST, *self.columns)
        state = {
            "searchFilter": self.search,
            "orderByKey": self.order,
            "orderByAsc": self.ascending,
            "startTime": "ALL",
            "lifecycleFilter": "Active",
            "modelVersionFilter": "All Runs",
            "datasetsFilter": [],
            "selectedColumns": list(self.columns),
            "columnOrder": list(order),
            "columnWidths": {key: _WIDTHS.get(key, 110) for key in order},
            "runsHiddenMode": "FIRST_20_RUNS",
            "compareRunSections": [
                {
                    "uuid": name,
                    "name": name,
                    "display": True,
                    "isReordered": False,
                    "deleted": False,
                    "isGenerated": True,
                }
                for name in (_SECTION, "Model metrics", "System metrics")
            ],
            "compareRunCharts": list(self.charts),
        }
        return json.dumps(
            {"name": self.name, "createdAt": 0, "updatedAt": 0, "state": json.dumps(state)}
        )


AVERAGES, BEST, TRIALS = "averages", "best", "trials"


def views(varied: Sequence[str]) -> tuple[SavedView, ...]:
    """The views of a sweep, the first of them behind its link.

    Args:
        varied: Parameters that differ between its runs.
    """
    columns = (
        "tags.`result`",
        *(f"params.`{key}`" for key in varied),
        *(f"tags.`{name}`" for name in ("seeds", "seed", "phase", "verdict", "dataset")),
    )
    charts = tuple(_charts(varied))
    views = [SavedView(AVERAGES, "Averages with their runs", columns, charts=charts)]
    for key, name, kind in (
        (BEST, "Averages alone, best first", "configuration"),
        (TRIALS, "Single runs, best first", "cell"),
    ):
        search, order = f"tags.kind = '{kind}'", "tags.`rank`"
        views.append(SavedView(key, name, columns, search, order, ascending=True, charts=charts))
    return tuple(views)


def _charts(varied: Sequence[str]) -> list[dict[str, Any]]:
    """Learning curves, what the varied parameters led to, and the results as bars."""
    line = {
        "type": "LINE",
        "scaleType": "linear",
        "xAxisKey": "step",
        "xAxisScaleType": "linear",
        "range": {},
        "lineSmoothness": 0,
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
        "ignoreOutliers": False,
        "selectedXAxisMetricKey": "",
    }
    found: list[dict[str, Any]] = [
        {**line, "metricKey": "val/f1", "selectedMetricKeys": ["val/f1"]},
        {"type": "PARALLEL", "selectedParams": list(varied), "selectedMetrics": ["val_best/f1"],
         "showAllRuns": True},
        {"type": "BAR", "metricKey": "z_test/f1_mean", "dataAccessKey": "z_test/f1_mean",
         "selectedMetricKeys": ["z_test/f1_mean"]},
        {**line, "metricKey": "train/loss", "selectedMetricKeys": ["train/loss"]},
    ]  # fmt: skip
    shown = found if varied else [chart for chart in found if chart["type"] != "PARALLEL"]
    common = {
        "metricSectionId": _SECTION,
        "deleted": False,
        "isGenerated": False,
        "runsCountToCompare": 20,
    }
    return [{"uuid": f"{_SECTION}-{n}", **common, **chart} for n, chart in enumerate(shown)]


def link(server: str, experiment: str) -> str:
    """The address of the averages, beside their charts, in a server's UI.

    Args:
        server: `http://…`, without a slash at its end.
        experiment: Its id.
    """
    query = f"workflowType=machine_learning&viewStateShareKey={AVERAGES}&compareRunsMode=CHART"
    return f"{server}/#/experiments/{experiment}/runs?{query}"

"""What MLflow's table of runs shows when an experiment is opened: views saved with the experiment.

MLflow opens an experiment with no metric beside the runs and with children folded away. It keeps
views as tags of the experiment, under its "Views" button and behind links; those written here show
the averages in columns. Runs are unfolded where their children are of MLflow's type `evaluation`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

TAG = "mlflow.sharedViewState."
RUN_TYPE = ("mlflow.runType", "evaluation")


@dataclass(frozen=True)
class SavedView:
    """One view of an experiment's runs.

    Attributes:
        key: Stands in the link.
        name: Stands under "Views".
        columns: As MLflow names them, from left to right.
        search: Which runs; empty: all.
        order: By what; MLflow nests children under their parents only where that is the start.
    """

    key: str
    name: str
    columns: tuple[str, ...]
    search: str = ""
    order: str = "attributes.start_time"

    @property
    def tag(self) -> str:
        """The tag of the experiment that keeps it."""
        return TAG + self.key

    @property
    def content(self) -> str:
        """The tag's value; always the same, so that writing it again changes nothing."""
        state = {
            "searchFilter": self.search,
            "orderByKey": self.order,
            "orderByAsc": False,
            "startTime": "ALL",
            "lifecycleFilter": "Active",
            "modelVersionFilter": "All Runs",
            "datasetsFilter": [],
            "selectedColumns": list(self.columns),
            "columnOrder": [],
            "columnWidths": {},
        }
        return json.dumps(
            {"name": self.name, "createdAt": 0, "updatedAt": 0, "state": json.dumps(state)}
        )


_MEANS = (
    "metrics.`test/f1_mean`",
    "metrics.`test/f1_std`",
    "metrics.`val/f1_mean`",
    "metrics.`val/f1_std`",
    "metrics.`num_seeds`",
)
_TAGS = ("tags.`phase`", "tags.`dataset`")
AVERAGES = SavedView(
    "averages",
    "Averages with their runs",
    (*_MEANS, "metrics.`test/f1`", "metrics.`val/f1_best`", "tags.`seed`", *_TAGS),
)
BEST = SavedView(
    "best",
    "Averages alone, best first",
    (*_MEANS, *_TAGS),
    search="tags.kind = 'configuration'",
    order="metrics.`val/f1_mean`",
)
TRIALS = SavedView(
    "trials",
    "Single runs, best first",
    ("metrics.`val/f1_best`", "metrics.`test/f1`", "tags.`seed`", *_TAGS),
    search="tags.kind = 'cell'",
    order="metrics.`val/f1_best`",
)
VIEWS = (AVERAGES, BEST, TRIALS)


def link(server: str, experiment: str) -> str:
    """The address of the averages in a server's UI.

    Args:
        server: `http://…`, without a slash at its end.
        experiment: Its id.
    """
    query = f"workflowType=machine_learning&viewStateShareKey={AVERAGES.key}"
    return f"{server}/#/experiments/{experiment}/runs?{query}"

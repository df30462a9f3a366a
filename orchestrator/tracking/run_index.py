"""Which run of MLflow is which of ours: found by tags, created once, duplicates healed.

A creation whose answer was lost may or may not have happened, and two publishers may create at
once. Whoever looks at all runs next keeps one of each key and puts the others into MLflow's bin.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from orchestrator.tracking.client.client import (
    RUN_KEY,
    STORAGE,
    TrackedRun,
    Tracking,
    TrackingRefusedError,
)
from orchestrator.tracking.journal import Journal


class RunIndex:
    """The runs of one storage in one experiment.

    Args:
        tracking: The client.
        experiment: Id of the experiment.
        storage: What tells the storage's runs from another's.
        journal: Says which of two runs is the one that was published to.
    """

    def __init__(self, tracking: Tracking, experiment: str, storage: str, journal: Journal) -> None:
        self.experiment = experiment
        self._tracking = tracking
        self._storage = storage
        self._journal = journal
        self._runs: dict[str, TrackedRun] | None = None

    def load(self) -> tuple[Mapping[str, TrackedRun], int]:
        """Ask MLflow for all runs, and heal duplicates.

        Returns:
            Run by key; number of duplicates removed.
        """
        found: dict[str, list[TrackedRun]] = {}
        for run in self._tracking.runs(self.experiment, self._storage):
            found.setdefault(run.key, []).append(run)
        num_duplicates = 0
        kept: dict[str, TrackedRun] = {}
        for key, runs in found.items():
            kept[key] = runs[0] if len(runs) == 1 else self._best(key, runs)
            for run in runs:
                if run is not kept[key]:
                    self._tracking.delete_run(run.run_id)
                    num_duplicates += 1
            if len(runs) > 1:
                # What the journal says was sent may have gone to a run just removed.
                self._journal.forget(key)
        self._runs = kept
        return kept, num_duplicates

    def _best(self, key: str, runs: list[TrackedRun]) -> TrackedRun:
        entry = self._journal.entry(key)
        published = None if entry is None else entry.run_id
        return min(runs, key=lambda run: (run.run_id != published, run.started_at, run.run_id))

    def ensure(
        self, key: str, name: str, tags: Mapping[str, str], started_at: float
    ) -> tuple[str, bool]:
        """Id of a key's run, and whether it was created just now.

        Args:
            key: The run's key.
            name: For people.
            tags: For a new run.
            started_at: Unix time in seconds.
        """
        if self._runs is None:
            self.load()
        assert self._runs is not None
        if (run := self._runs.get(key)) is not None:
            return run.run_id, False
        tags = {**tags, RUN_KEY: key, STORAGE: self._storage}
        run_id = self._tracking.create_run(self.experiment, name, tags, started_at)
        self._runs[key] = TrackedRun(run_id, key, "RUNNING", round(started_at * 1000))
        return run_id, True

    def delete(self, key: str, run_id: str) -> None:
        """Put a run into MLflow's bin; one that is gone already is no error."""
        with contextlib.suppress(TrackingRefusedError):
            self._tracking.delete_run(run_id)
        if self._runs is not None and key in self._runs and self._runs[key].run_id == run_id:
            del self._runs[key]

    def reset(self) -> None:
        """Ask MLflow again before the next creation."""
        self._runs = None

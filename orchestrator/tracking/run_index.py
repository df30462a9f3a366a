"""Which run of MLflow is which of ours: found by tags, created once, duplicates healed.

A creation whose answer was lost may or may not have happened, and two publishers may create at
once. Whoever looks at all runs next keeps one of each key and puts the others into MLflow's bin.
"""

from __future__ import annotations

from contextlib import suppress

from orchestrator.tracking.client.client import (
    RUN_KEY,
    STORAGE,
    TrackedRun,
    Tracking,
    TrackingRefusedError,
    milliseconds,
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

    def load(self) -> tuple[dict[str, TrackedRun], int]:
        """Ask MLflow for all runs, and heal duplicates.

        Returns:
            Run by key; number of duplicates removed.
        """
        # By id: a run that is made meanwhile, as by a driver beside a `sync`, moves one to the next
        # page as well.
        seen = {run.run_id: run for run in self._tracking.runs(self.experiment, self._storage)}
        found: dict[str, list[TrackedRun]] = {}
        for run in seen.values():
            found.setdefault(run.key, []).append(run)
        self._runs = {key: self._only(key, runs) for key, runs in found.items()}
        return self._runs, sum(len(runs) - 1 for runs in found.values())

    def _only(self, key: str, runs: list[TrackedRun]) -> TrackedRun:
        """The one run of a key that is kept: that which was published to, else the first."""
        if len(runs) == 1:
            return runs[0]
        entry = self._journal.entry(key)
        kept = next((run for run in runs if entry and run.run_id == entry.run_id), runs[0])
        for run in runs:
            if run is not kept:
                self._tracking.client.delete_run(run.run_id)
        # What the journal says was sent may have gone to a run just removed.
        self._journal.forget(key)
        return kept

    def ensure(self, key: str, name: str, started_at: float) -> tuple[str, bool]:
        """Id of a key's run, and whether it was created just now.

        Args:
            key: The run's key.
            name: For people.
            started_at: Unix time in seconds.
        """
        runs = self.load()[0] if self._runs is None else self._runs
        if (run := runs.get(key)) is not None:
            return run.run_id, False
        tags = {RUN_KEY: key, STORAGE: self._storage}
        run = self._tracking.client.create_run(
            self.experiment, start_time=milliseconds(started_at), tags=tags, run_name=name
        )
        runs[key] = TrackedRun(run.info.run_id, key, "RUNNING")
        return runs[key].run_id, True

    def delete(self, key: str, run_id: str) -> None:
        """Put a run into MLflow's bin; one that is gone already is no error."""
        with suppress(TrackingRefusedError):
            self._tracking.client.delete_run(run_id)
        if self._runs and key in self._runs and self._runs[key].run_id == run_id:
            del self._runs[key]

"""What a sweep says of its runs: one document per cell, per averaged configuration, and its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from orchestrator.config.sweep import LISTED, InvalidSetting
from orchestrator.search.standings import Standing
from orchestrator.store.cell_folder import in_cell
from orchestrator.store.cells import CellStore, test_averages, test_metrics
from orchestrator.sweeps.record.event_log import Ended, Proposed
from orchestrator.sweeps.record.history import History
from orchestrator.tracking.run_document import (
    PARENT,
    ModelDocument,
    RunDocument,
    RunStatus,
    flatten,
    read_runs,
    write_run,
)
from shapca.runs.epochs import SELECTION
from shapca.runs.layout import evaluation_record
from shapca.runs.provenance import git_commit
from shapca.storage import ObjectStore

STATUS: dict[str, RunStatus] = {
    "finished": "finished",
    "pruned": "killed",
    "diverged": "failed",
    "failed": "failed",
}


class RunWriter:
    """Writes the run documents of one sweep.

    Args:
        cells: The storage.
        history: The sweep's record.
        on_change: Told the key of every document written.
    """

    def __init__(
        self, cells: CellStore, history: History, on_change: Callable[[str], None]
    ) -> None:
        self._cells = cells
        self._history = history
        self._sweep = history.sweep
        self._protocol = history.protocol
        self._on_change = on_change
        self._written: dict[str, RunDocument] = {}
        self._common = {"sweep": self._sweep.name}
        if (commit := git_commit()) is not None:
            self._common["git_commit"] = commit

    def sweep_started(self, at: float) -> None:
        """The sweep's own run, above all others."""
        document = RunDocument(
            key=PARENT,
            kind="sweep",
            name=self._sweep.name,
            status="running",
            started_at=at,
            tags=self._common,
            params=flatten(self._sweep.model_dump(mode="json", exclude={"runtime"})),
        )
        self._write(document)

    def sweep_ended(
        self,
        status: RunStatus,
        at: float,
        note: str,
        artifacts: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """How the sweep's own run ended, with the figures of its winner if it is done.

        What leads at an interruption is said in the note alone: MLflow keeps every point of a
        metric, and a search seed's score does not belong among those of confirmed winners.

        Args:
            status: Its own.
            at: Unix time in seconds.
            note: Markdown that stands on top of it.
            artifacts: Path in MLflow to the name of an object in the storage.
            tags: Further ones.
        """
        winner = self._protocol.confirmation() or self._protocol.winner()
        metrics = self._averages(winner) if winner and status == "finished" else {}
        document = replace(
            self._written[PARENT],
            status=status,
            ended_at=at,
            metrics=metrics,
            note=note,
            artifacts=dict(artifacts or {}),
            tags={**self._written[PARENT].tags, **(tags or {})},
        )
        self._write(document)

    def cell_started(self, event: Proposed) -> None:
        """A cell is at work, or is about to be; the average that it enters comes first."""
        if event.phase != "search":
            self._write_average(event, event.at)
        seed, tags = str(event.seed), self._tags(event)
        is_averaged = tags["phase"] in ("confirm", "replicate", "study")
        document = RunDocument(
            key=self.key_of(event),
            kind="cell",
            name=event.name,
            status="running",
            started_at=event.at,
            parent=f"configuration-{event.configuration}" if is_averaged else PARENT,
            cell=event.cell,
            tags={**tags, "cell": event.cell, "seed": seed},
            params={**self._params(event), "seed": seed},
        )
        self._write(document)

    def cell_ended(self, event: Proposed, end: Ended) -> None:
        """A cell's run has its final status; averages that it enters are brought up to date."""
        document = self._written[self.key_of(event)]
        tags = dict(document.tags)
        if end.status == "pruned":
            tags["pruned_at"] = str(end.epoch)
        elif end.status != "finished":
            tags |= {"error": end.reason or end.status, "verdict": end.status}
        if end.alignment is not None:
            tags["alignment"] = end.alignment
        trained_by = (self._cells.summary(event.cell) or {}).get("sweep")
        if trained_by not in (None, self._sweep.name):
            tags["reused_from"] = str(trained_by)
        document = replace(
            document,
            status=STATUS[end.status],
            ended_at=end.at,
            last_epoch=end.epoch if end.status == "pruned" else None,
            tags=tags,
            metrics=self._final_metrics(event, end),
            artifacts=self._artifacts(event) if end.status == "finished" else {},
        )
        self._write(document)
        if event.phase != "search":
            self._write_average(event, end.at)

    def cell_interrupted(self, event: Proposed, at: float, reason: str) -> None:
        """A cell's run stops for now; it goes on when the sweep is taken up again."""
        self._interrupt(self._written[self.key_of(event)], "killed", at, reason)

    def close_open(self, status: RunStatus, at: float, reason: str) -> None:
        """`close_open` for the sweep."""
        for document in close_open(self._cells.store, self._sweep.name, status, at, reason):
            self._written[document.key] = document
            self._on_change(document.key)

    def _interrupt(self, document: RunDocument, status: RunStatus, at: float, reason: str) -> None:
        self._write(interrupted(document, status, at, reason))

    def name_champion(self, event: Proposed, model: ModelDocument) -> None:
        """One cell's model is the sweep's, and no other one's any more."""
        champion = self.key_of(event)
        for key, document in read_runs(self._cells.store, self._sweep.name).items():
            wanted = model if key == champion else None
            if document.model != wanted:
                self._write(replace(document, model=wanted))

    def _write_average(self, event: Proposed, at: float) -> None:
        phase = self._protocol.shown_phase(event.phase)
        phases, wanted = self._protocol.averaged(phase)
        standings = self._protocol.standings(*phases)
        standing = next((s for s in standings if s.configuration == event.configuration), None)
        scores, missing = (standing.scores, standing.missing) if standing else ({}, {})
        tags = {**self._tags(event), "seeds": " ".join(map(str, sorted(scores)))}
        if missing:
            reasons = (f"{seed}: {why}" for seed, why in sorted(missing.items()))
            tags["missing_seeds"] = ", ".join(reasons)
        is_complete = standing is not None and len(standing.numbers) >= wanted
        ended: RunStatus = "failed" if missing else "finished"
        prefix = "shortlist" if phase == "shortlist" else "configuration"
        document = RunDocument(
            key=f"{prefix}-{event.configuration}",
            kind="configuration",
            name=f"{event.setting} · mean of {len(scores) if is_complete else wanted} seeds",
            status=ended if is_complete else "running",
            started_at=event.at,
            parent=PARENT,
            tags=tags,
            params=self._params(event),
            metrics=self._averages(standing) if standing else {},
            ended_at=at if is_complete else None,
        )
        self._write(document)

    def _averages(self, standing: Standing) -> dict[str, float]:
        """Mean and sample standard deviation over the seeds that finished."""
        seeds = standing.seed_scores
        metrics = {"num_seeds": float(seeds.num), **seeds.named(SELECTION)}
        proposed, numbers = self._history.proposed, standing.numbers
        keys = [proposed[numbers[seed]].cell for seed in sorted(standing.scores)]
        return metrics | test_averages(self._cells, keys)

    def _final_metrics(self, event: Proposed, end: Ended) -> dict[str, float]:
        if end.status == "pruned":
            return {} if end.value is None else {SELECTION: end.value}
        best: dict[str, float] = (self._cells.result(event.cell) or {}).get("best_metrics", {})
        metrics = {name: value for name, value in best.items() if name.startswith("val/")}
        metrics.pop("val/seconds", None)
        if end.best_epoch is not None:
            metrics["best_epoch"] = float(end.best_epoch)
        return metrics | test_metrics(self._cells, event.cell)

    def _artifacts(self, event: Proposed) -> dict[str, str]:
        names = map(evaluation_record, ("valid", "test"))
        kept = {name: in_cell(event.cell, name) for name in names}
        return {name: at for name, at in kept.items() if self._cells.store.get(at) is not None}

    def _tags(self, event: Proposed) -> dict[str, str]:
        """What a cell's run and its average have in common."""
        listed = self._sweep.configurations.get(str(event.values.get(LISTED)))
        params = self._params(event)
        return {
            **self._common,
            **(listed.tags if listed else {}),
            "phase": self._protocol.shown_phase(event.phase),
            "configuration": event.configuration,
            **({"dataset": params["data.dataset"]} if "data.dataset" in params else {}),
        }

    def _params(self, event: Proposed) -> dict[str, str]:
        """The experiment, or the setting itself where it is none."""
        try:
            return flatten(self._sweep.resolve(event.values).model_dump(mode="json"))
        except InvalidSetting:
            return flatten(event.values)

    def key_of(self, event: Proposed) -> str:
        """Key of the document of a cell's run."""
        return f"{self._protocol.shown_phase(event.phase)}-{event.cell}"

    def _write(self, document: RunDocument) -> None:
        self._written[document.key] = document
        write_run(self._cells.store, self._sweep.name, document)
        self._on_change(document.key)


def close_open(
    store: ObjectStore, sweep: str, status: RunStatus, at: float, reason: str
) -> list[RunDocument]:
    """Give every document that still says `running` a final status, also a dead driver's.

    Args:
        store: The storage.
        sweep: The sweep's name.
        status: The sweep's own; its cells and averages are `killed`, and may go on later.
        at: Unix time in seconds.
        reason: Why.

    Returns:
        The documents that were closed.
    """
    closed = [
        interrupted(document, status if key == PARENT else "killed", at, reason)
        for key, document in read_runs(store, sweep).items()
        if document.is_running
    ]
    for document in closed:
        write_run(store, sweep, document)
    return closed


def interrupted(document: RunDocument, status: RunStatus, at: float, reason: str) -> RunDocument:
    """A document that ends for now."""
    tags = {**document.tags, "interrupted": reason}
    return replace(document, status=status, ended_at=at, tags=tags)

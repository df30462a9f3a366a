"""What a sweep says of its runs: one document per cell, per averaged configuration, and its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from orchestrator.config.sweep import LISTED
from orchestrator.search.standings import Standing
from orchestrator.store.averages import test_averages, test_metrics
from orchestrator.store.cell_folder import in_cell
from orchestrator.store.cells import CellStore
from orchestrator.sweeps.control.run_contents import RunContents
from orchestrator.sweeps.control.run_words import (
    RANK,
    RESULT,
    VERDICT,
    average_name,
    cell_name,
    described,
    ranked,
    result_of,
)
from orchestrator.sweeps.record.event_log import Ended, Proposed
from orchestrator.sweeps.record.history import History
from orchestrator.tracking.run_document import (
    PARENT,
    ModelDocument,
    RunDocument,
    RunStatus,
    close_open,
    interrupted,
    read_runs,
    write_run,
)
from shapca.runs.epochs import SELECTION
from shapca.runs.layout import EVALUATIONS, evaluation_record

STATUS: dict[str, RunStatus] = {
    "finished": "finished",
    "pruned": "killed",
    "diverged": "failed",
    "failed": "failed",
}


MOST_RANKED_AT_ONCE = 100


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
        self._contents = RunContents(history)

    def sweep_started(self, at: float) -> None:
        """The sweep's own run, above all others."""
        document = RunDocument(
            key=PARENT,
            kind="sweep",
            name=self._sweep.name,
            status="running",
            started_at=at,
            tags=self._contents.tags,
            **self._contents.of_sweep(),
            varied=tuple(self._sweep.space),
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
            tags={**self._written[PARENT].tags, **_result(metrics, "finished"), **(tags or {})},
        )
        self._write(document)
        # All runs are published once more for it, which an interrupted driver has no time for.
        if status == "finished" or len(self._history.proposed) <= MOST_RANKED_AT_ONCE:
            self._rank()

    def _rank(self) -> None:
        """Say of every run what it is called now and at which place it stands, the best first."""
        documents = read_runs(self._cells.store, self._sweep.name)
        history, seen = self._history, set[str]()
        for event, num_seeds in ranked(history):
            key = self.key_of(event) if num_seeds is None else self._average_key(event)
            document = documents.get(key)
            if document is None or key in seen:
                continue
            seen.add(key)
            if num_seeds is None:
                name = cell_name(history, event, document.tags.get(VERDICT, "finished"))
            else:
                name = average_name(history, event, num_seeds)
            tags = {**document.tags, RANK: f"{len(seen):05}"}
            if document.status == "finished":  # one that older code wrote does not say so yet
                tags |= _result(document.metrics, "finished")
            if (tags, name) != (document.tags, document.name):
                self._write(replace(document, name=name, tags=tags))

    def cell_started(self, event: Proposed) -> None:
        """A cell is at work, or is about to be; the average that it enters comes first."""
        if event.phase != "search":
            self._write_average(event, event.at)
        seed, tags, contents = str(event.seed), self._tags(event), self._contents.of(event.values)
        is_averaged = tags["phase"] in ("confirm", "replicate", "study")
        document = RunDocument(
            key=self.key_of(event),
            kind="cell",
            name=cell_name(self._history, event),
            status="running",
            started_at=event.at,
            parent=f"configuration-{event.configuration}" if is_averaged else PARENT,
            cell=event.cell,
            tags={**tags, "cell": event.cell, "seed": seed},
            **{**contents, "params": {**contents["params"], "seed": seed}},
        )
        self._write(replace(document, note=described(event, document)))

    def cell_ended(
        self, event: Proposed, end: Ended, summary: Mapping[str, Any] | None = None
    ) -> None:
        """A cell's run has its final status; averages that it enters are brought up to date.

        Args:
            event: Its proposal.
            end: How it ended.
            summary: The cell's verdict, where it was read.
        """
        document = self._written[self.key_of(event)]
        tags, reason = {**document.tags, VERDICT: end.status}, end.reason or end.status
        if end.status == "pruned":
            tags["pruned_at"] = str(end.epoch)
            reason = f"pruned at epoch {end.epoch}"
        elif end.status != "finished":
            tags["error"] = reason
        was_read = summary is not None  # then its training has just written its evaluations
        if summary is None and end.found:
            summary = self._cells.summary(event.cell)
        metrics = self._final_metrics(event, end, summary or {})
        tags |= _result(metrics, end.status, reason)
        if end.alignment is not None:
            tags["alignment"] = end.alignment
        trained_by = (summary or {}).get("sweep")
        if trained_by not in (None, self._sweep.name):
            tags["reused_from"] = str(trained_by)
        document = replace(
            document,
            name=cell_name(self._history, event, end.status),
            status=STATUS[end.status],
            ended_at=end.at,
            last_epoch=end.epoch if end.status == "pruned" else None,
            tags=tags,
            metrics=metrics,
            artifacts=self._artifacts(event, sure=was_read) if end.status == "finished" else {},
        )
        self._write(replace(document, note=described(event, document)))
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
        metrics = self._averages(standing) if standing else {}
        tags |= _result(metrics, "finished")
        num_seeds = len(scores) if is_complete else wanted
        document = RunDocument(
            key=self._average_key(event),
            kind="configuration",
            name=average_name(self._history, event, num_seeds),
            status=ended if is_complete else "running",
            started_at=self._shown_from(event),
            parent=PARENT,
            tags=tags,
            metrics=metrics,
            **self._contents.of(event.values),
            ended_at=at if is_complete else None,
        )
        self._write(replace(document, note=described(event, document)))

    def _average_key(self, event: Proposed) -> str:
        prefix = "shortlist" if event.phase == "shortlist" else "configuration"
        return f"{prefix}-{event.configuration}"

    def _shown_from(self, event: Proposed) -> float:
        """When an average begins: MLflow shows the latest first, and the winner shall be that."""
        winner = self._protocol.winner()
        confirm = [e.at for e in self._history.proposed.values() if e.phase == "confirm"]
        is_other = winner is not None and winner.configuration != event.configuration
        if event.phase == "confirm" and is_other:
            return min(confirm) - 0.001
        return event.at

    def _averages(self, standing: Standing) -> dict[str, float]:
        """Mean and sample standard deviation over the seeds that finished."""
        seeds = standing.seed_scores
        metrics = {"num_seeds": float(seeds.num), **seeds.named(SELECTION)}
        proposed, numbers = self._history.proposed, standing.numbers
        keys = [proposed[numbers[seed]].cell for seed in sorted(standing.scores)]
        return metrics | test_averages(self._cells, keys)

    def _final_metrics(
        self, event: Proposed, end: Ended, summary: Mapping[str, Any]
    ) -> dict[str, float]:
        if end.status == "pruned":
            return {} if end.value is None else {SELECTION: end.value}
        best: dict[str, float] | None = summary.get("metrics")
        if best is None:
            best = (self._cells.result(event.cell) or {}).get("best_metrics", {})
        metrics = {name: value for name, value in best.items() if name.startswith("val/")}
        metrics.pop("val/seconds", None)
        if end.best_epoch is not None:
            metrics["best_epoch"] = float(end.best_epoch)
        is_tested = event.test or end.found
        return metrics | (test_metrics(self._cells, event.cell) if is_tested else {})

    def _artifacts(self, event: Proposed, *, sure: bool) -> dict[str, str]:
        names = map(evaluation_record, ("valid",) if sure and not event.test else ("valid", "test"))
        kept = {name: in_cell(event.cell, name) for name in names}
        if sure:
            return kept
        there = self._cells.store.list(in_cell(event.cell, EVALUATIONS))
        return {name: at for name, at in kept.items() if at in there}

    def _tags(self, event: Proposed) -> dict[str, str]:
        """What a cell's run and its average have in common."""
        listed = self._sweep.configurations.get(str(event.values.get(LISTED)))
        params = self._contents.of(event.values)["params"]
        return {
            **self._contents.tags,
            **(listed.tags if listed else {}),
            "phase": self._protocol.shown_phase(event.phase),
            "configuration": event.configuration,
            **({"dataset": params["data.dataset"]} if "data.dataset" in params else {}),
        }

    def key_of(self, event: Proposed) -> str:
        """Key of the document of a cell's run."""
        return f"{self._protocol.shown_phase(event.phase)}-{event.cell}"

    def _write(self, document: RunDocument) -> None:
        self._written[document.key] = document
        write_run(self._cells.store, self._sweep.name, document)
        self._on_change(document.key)


def _result(metrics: Mapping[str, float], verdict: str, reason: str = "") -> dict[str, str]:
    """The tag that says what a run came to; none where it came to nothing yet."""
    result = result_of(metrics, verdict, reason)
    return {RESULT: result} if result else {}

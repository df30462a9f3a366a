"""Cells that need no trial: duplicates, and those that the store holds already."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Any, Literal

from orchestrator.search.pruners import KeepAll, RayPruner, build_pruner
from orchestrator.store.cells import CellStore
from orchestrator.sweeps.record.event_log import Ended, Proposed
from orchestrator.sweeps.record.history import History
from shapca.errors import InputError
from shapca.runs.epochs import SELECTION
from shapca.words import counted

StalePolicy = Literal["refuse", "accept", "rerun"]


class StaleCellsError(InputError):
    """Finished cells come from other code than the present one."""


@dataclass
class Reuse:
    """Decides what of a cell in the store may be used, and judges it as if it were trained now.

    Attributes:
        history: The sweep's record.
        cells: The store.
        code: Fingerprint of the present training code.
        stale: What to do with cells of other code.
    """

    history: History
    cells: CellStore
    code: str
    stale: StalePolicy

    @cached_property
    def pruner(self) -> KeepAll | RayPruner:
        """Early stopping as it stood: it has seen what ended trials reported."""
        sweep = self.history.sweep
        pruner = build_pruner(sweep.scheduler, sweep.max_epochs())
        for number, end in self.history.ended.items():
            if self.history.proposed[number].phase == "search":
                for epoch, value in enumerate(end.curve, start=1):
                    pruner.observe(number, epoch, value)
                pruner.end(number)
        return pruner

    def known_end(self, event: Proposed) -> Ended | None:
        """How a cell ended that needs no trial; None where it needs one.

        Raises:
            StaleCellsError: It was made by other code, and nothing was said about that.
        """
        ended, cells = self.history.ended, self.cells
        twins = [number for number in self.history.twins.of(event.cell) if number in ended]
        is_tested = not event.test or cells.evaluation(event.cell, "test") is not None
        if twins and (is_tested or ended[twins[-1]].status != "finished"):
            twin, now = ended[twins[-1]], self.history.clock()
            return replace(twin, number=event.number, at=now, trained=0, seconds=0.0, found=True)
        summary = cells.summary(event.cell)
        if summary is None or summary["status"] == "failed":
            return None
        if self.refuses(event.cell, summary["codes"]):
            return None
        if summary["status"] == "finished" and not is_tested:
            if not cells.has_weights(event.cell):
                cells.reset(event.cell)  # its weights were not kept: it is trained again
            return None
        return self._found(event, summary)

    def refuses(self, key: str, codes: Collection[str]) -> bool:
        """Whether a cell's results of other code were removed, as the user asked.

        Raises:
            StaleCellsError: It was made by other code, and nothing was said about that.
        """
        if self.stale == "accept" or all(code == self.code for code in codes):
            return False
        if self.stale == "refuse":
            raise StaleCellsError(stale_message(self.history.sweep.name, [key], self.cells))
        self.cells.reset(key)
        return True

    def _found(self, event: Proposed, summary: Mapping[str, Any]) -> Ended:
        sweep = self.history.sweep
        is_ours = summary["sweep"] == sweep.name and event.phase != "confirm"
        records = self.cells.epochs(event.cell)
        values = (r["metrics"][SELECTION] for r in records if r["epoch"] <= summary["epochs"])
        curve = list(accumulate(values, max))  # best validation F1 so far after each epoch
        end = Ended(
            number=event.number,
            status=summary["status"],
            at=self.history.clock(),
            epoch=summary["epochs"],
            value=summary["value"],
            best_epoch=summary["best_epoch"],
            reason=summary.get("reason"),
            trained=summary["epochs"] if is_ours else 0,
            seconds=sum(record["seconds"] for record in records) if is_ours else 0.0,
            codes=summary["codes"],
            found=True,
            curve=curve,
            alignment=summary.get("alignment"),
        )
        if event.phase != "search":
            return end
        for epoch, value in enumerate(curve, start=1):
            if self.pruner.observe(event.number, epoch, value) and epoch < summary["epochs"]:
                return replace(
                    end,
                    status="pruned",
                    epoch=epoch,
                    value=value,
                    best_epoch=curve.index(value) + 1,
                    curve=curve[:epoch],
                )
        return end


def stale_message(sweep: str, keys: Sequence[str], cells: CellStore) -> str:
    """What to say where results of other code would be mixed in.

    Args:
        sweep: The sweep, study or table that would mix them.
        keys: Its cells of other code.
        cells: The store.
    """
    shown = ", ".join(keys[:3]) + (" …" if len(keys) > 3 else "")
    changes = cells.changes_since(keys)
    changed = f" Changed since: {', '.join(changes[:5])}" if changes else ""
    if len(changes) > 5:
        changed += f" and {len(changes) - 5} more"
    return (
        f"sweep {sweep}: {counted(len(keys), 'cell')} ({shown}) of other code than the present "
        f"one, and results of both would be mixed.{changed and changed + '.'} --accept-stale uses "
        f"them as they are; --rerun-stale trains them again; --set name={sweep}-2 starts a new "
        "sweep, and this one stays as a baseline"
    )

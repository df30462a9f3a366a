"""What a trial tells its sweep after each step."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from shapca.runs.epochs import epochs_content
from shapca.runs.layout import epoch_record
from shapca.storage import ObjectStore

State = Literal["running", "finished", "diverged", "failed", "stopped", "superseded"]


@dataclass(frozen=True)
class Report:
    """What a trial tells the sweep after a step.

    Attributes:
        epoch: Epochs done.
        value: Best validation F1 so far in percent.
        best_epoch: Epoch of that value.
        state: `running`, or the verdict; `stopped`: the storage cannot be used, so that nothing was
            decided; `superseded`: another process has the cell.
        complete: No epoch is left to train.
        reason: Why it failed or diverged.
        trained: Epochs that this attempt trained; recorded ones that it only repeats do not count.
        seconds: Time since the attempt began.
        uncommitted: Records of the epochs that the store does not have yet, as a JSON list.
        verdict: What it wrote as the cell's verdict, as JSON; empty where it wrote none.
    """

    epoch: int
    value: float | None
    best_epoch: int | None
    state: State
    complete: bool
    reason: str | None
    trained: int
    seconds: float
    uncommitted: str = "[]"
    verdict: str = ""

    def write_uncommitted(self, run: ObjectStore) -> None:
        """Write those records for a trial that is pruned, whose process does not any more."""
        if records := json.loads(self.uncommitted):
            run.put_new(epoch_record(records[-1]["epoch"]), epochs_content(records))

"""What a sweep may use up: wall time, cells, GPU hours."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.sweeps.record.history import History
from shapca.words import counted


class Budget:
    """Compares what a sweep has used, over all its drivers, with what it was given.

    Args:
        history: The sweep's record.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self._limits = history.sweep.budget
        self._began = history.clock()
        self._wall_before = history.wall_seconds()

    def time_is_up(self, running_seconds: Iterable[float]) -> str | None:
        """Why running trials must stop, too; None while they need not.

        Args:
            running_seconds: How long each running trial has occupied its resources.
        """
        hours = self._limits.wall_hours
        wall = self._wall_before + self._history.clock() - self._began
        if hours is not None and wall >= 3600 * hours:
            return f"its budget of {counted(hours, 'hour')} is used up"
        hours = self._limits.gpu_hours
        if hours is not None:
            seconds = self._history.trial_seconds() + sum(running_seconds)
            if seconds * self._history.sweep.resources.gpus >= 3600 * hours:
                return f"its budget of {counted(hours, 'GPU hour')} is used up"
        return None

    def cells_are_up(self, num_running: int) -> str | None:
        """Why no further cell may start; None while one may."""
        cells = self._limits.cells
        if cells is not None and self._history.cells_trained() + num_running >= cells:
            return f"its budget of {counted(cells, 'cell')} is used up"
        return None

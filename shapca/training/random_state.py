"""The random states of a run, kept apart from everything else in the process."""

from __future__ import annotations

import base64
import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shapca.errors import InputError


class RandomState:
    """All sources of randomness that a run draws from, seeded once and saved with it.

    Python's, NumPy's and torch's global generators hold the run's states only inside `active()`:
    what else happens in the process neither changes the run nor is changed by it. The alignment
    draws its permutations from `generator`, which nothing else reads.

    Args:
        seed: Seed of every generator.
        device: Device of the run; a CUDA device's generator is kept as well.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self.generator = torch.Generator()
        self.generator.manual_seed(seed)
        self._device = device
        with self._outer_states_kept():
            random.seed(seed)
            np.random.seed(seed % 2**32)
            torch.manual_seed(seed)
            self._states = self._capture()

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Let the run's states be the global ones for a while."""
        with self._outer_states_kept():
            self._restore(self._states)
            try:
                yield
            finally:
                self._states = self._capture()

    def to_json(self) -> dict[str, Any]:
        """Every state as a JSON-ready record."""
        record = {name: _encode(state) for name, state in self._states.items()}
        return {**record, "generator": _encode(self.generator.get_state())}

    def load_json(self, record: dict[str, Any]) -> None:
        """Take up the states of a record that `to_json` made.

        Raises:
            InputError: the record is damaged.
        """
        try:
            states = {name: _decode(state) for name, state in record.items()}
            self.generator.set_state(states.pop("generator"))
            states = {**self._states, **states}
            with self._outer_states_kept():
                self._restore(states)
        except Exception as error:  # whatever the generators make of what is no state of theirs
            raise InputError(f"the checkpoint's random states are damaged ({error!r})") from error
        self._states = states

    @contextlib.contextmanager
    def _outer_states_kept(self) -> Iterator[None]:
        outer = self._capture()
        try:
            yield
        finally:
            self._restore(outer)

    def _capture(self) -> dict[str, Any]:
        numpy_state = np.random.get_state(legacy=False)
        states = {
            "python": random.getstate(),
            "numpy": numpy_state,
            "torch": torch.get_rng_state(),
        }
        if self._device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(self._device)
        return states

    def _restore(self, states: dict[str, Any]) -> None:
        random.setstate(states["python"])
        np.random.set_state(states["numpy"])
        torch.set_rng_state(states["torch"])
        if self._device.type == "cuda" and "cuda" in states:
            torch.cuda.set_rng_state(states["cuda"], self._device)


def _encode(state: Any) -> Any:
    """A generator's state with tensors, arrays and tuples marked so that they come back alike."""
    if isinstance(state, Tensor):
        return {"tensor": base64.b64encode(state.numpy().tobytes()).decode()}
    if isinstance(state, np.ndarray):
        return {"array": state.tolist(), "dtype": str(state.dtype)}
    if isinstance(state, tuple):
        return {"tuple": [_encode(item) for item in state]}
    if isinstance(state, dict):
        return {"dict": {name: _encode(item) for name, item in state.items()}}
    return state


def _decode(record: Any) -> Any:
    match record:
        case {"tensor": text}:
            return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)
        case {"array": values, "dtype": dtype}:
            if dtype not in ("uint32", "uint64"):  # others take any room
                raise ValueError(f"an array of {dtype!r}"[:60])
            return np.array(values, dtype=dtype)
        case {"tuple": items}:
            return tuple(_decode(item) for item in items)
        case {"dict": items}:
            return {name: _decode(item) for name, item in items.items()}
    return record

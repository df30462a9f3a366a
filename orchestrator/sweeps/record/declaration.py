"""What a sweep is: the part of its file that must not change while it goes on.

More trials, another budget, other resources, a longer shortlist and more seeds may be asked for at
any time. Another space, experiment, sampler or data set under the same name would mix two sweeps.
Listed configurations may change, since nothing is concluded from one to another.
"""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from orchestrator.config.sweep import SweepConfig
from orchestrator.store.cell_factory import CellFactory
from orchestrator.store.sweep_folder import DECLARATION, SWEEP, in_sweep
from orchestrator.sweeps.record.event_log import EventLog, Proposed
from shapca.config import validate
from shapca.errors import InputError
from shapca.storage import ObjectStore, place_name, read_json, to_json
from shapca.storage.differences import differences


class _Kind(TypedDict):
    kind: str


class _Declaration(TypedDict):
    protocol: _Kind


PROTOCOL_PARTS = ("kind", "sampler", "sampler_seed", "startup_trials", "seeds")


def declaration(sweep: SweepConfig, factory: CellFactory) -> dict[str, Any]:
    """What identifies a sweep: its space, experiment, search and inputs by content.

    Raises:
        InputError: A data set or weights are missing.
    """
    cells = [factory.cell(config, 0) for config in sweep.experiments()]
    if sweep.configurations:
        return {"protocol": {"kind": "listed"}}
    protocol = sweep.protocol.model_dump(mode="json")
    inputs: dict[str, Any] = {}
    for cell in cells:
        config = cell.config
        name = f"{config.data.dataset} ({config.data.contexts or 'no contexts'})"
        parts = inputs.setdefault(name, {})
        parts |= {f"data {part}": digest for part, digest in cell.parts.items()}
        for part, digest in cell.weights.items():
            model = config.text.encoder if part == "text" else config.image.encoder
            parts[f"{part} weights {model}"] = digest
    return {
        "experiment": sweep.experiment,
        "space": {key: part.model_dump(mode="json") for key, part in sweep.space.items()},
        "protocol": {part: protocol[part] for part in PROTOCOL_PARTS},
        "scheduler": sweep.scheduler.model_dump(mode="json"),
        "inputs": inputs,
    }


def declare(store: ObjectStore, name: str, declared: dict[str, Any]) -> None:
    """Write a new sweep's declaration, or check that it is the one that was begun.

    A sweep of which nothing was proposed yet, since it was refused for other reasons, may change.

    Raises:
        InputError: The sweep of that name is another one; the message names what differs.
    """
    check_kind(store, name, is_study=declared["protocol"]["kind"] == "listed")
    place = _place(name)
    if store.put_new(place, to_json(declared)):
        return
    there = read_json(store, place, _Declaration) or {}
    differing = [
        f"{key} was {before}, now {now}"
        for key, before, now in differences(there, declared, separator=": ")
    ]
    if differing and not _has_begun(store, name):
        store.put(place, to_json(declared))
    elif differing:
        raise InputError(
            f"sweep {name}: it was begun with something else in this storage: "
            + "; ".join(differing)
            + ". Give the changed sweep another name (--set name=…); cells that both need are "
            "trained once"
        )


def check_kind(store: ObjectStore, name: str, *, is_study: bool) -> None:
    """Refuse a study with the name of a sweep, and the other way round: they share one record.

    Raises:
        InputError: The name is taken.
    """
    record = read_json(store, _place(name), _Declaration)
    if record is None or (record["protocol"]["kind"] == "listed") == is_study:
        return
    if _has_begun(store, name):
        asked, there = ("study", "sweep") if is_study else ("sweep", "study")
        raise InputError(
            f"{asked} {name}: {name} is a {there} in this storage; give the {asked} another name"
        )


def _place(name: str) -> str:
    return in_sweep(name, DECLARATION)


def _has_begun(store: ObjectStore, name: str) -> bool:
    return any(isinstance(event, Proposed) for event in EventLog.load(store, name).events)


def remember(store: ObjectStore, sweep: SweepConfig) -> None:
    """Keep the sweep's file as it was run last, so that its name is enough to look at it."""
    store.put(in_sweep(sweep.name, SWEEP), to_json(sweep.model_dump(mode="json")))


def recall(store: ObjectStore, name: str) -> SweepConfig:
    """The file of a sweep as it was run last.

    Raises:
        InputError: No sweep of that name was run in this storage.
    """
    place = in_sweep(name, SWEEP)
    record = read_json(store, place, dict[str, Any])
    if record is None:
        raise InputError(
            f"sweep {name}: not in this storage. Run it (orchestrator sweep FILE), or name the "
            "storage that has it (--storage)"
        )
    return validate(SweepConfig, record, f"{place_name(store)}: {place}")

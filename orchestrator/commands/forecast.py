"""`orchestrator forecast`: what a sweep will take, before or while it runs."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.arguments import DataRoot, Storage
from shapca.commands.options import AsJson, Overrides
from shapca.config import NAME, apply_overrides, shipped, validate
from shapca.errors import InputError
from shapca.words import counted

if TYPE_CHECKING:
    from orchestrator.config.sweep import SweepConfig
    from orchestrator.sweeps.checks.forecast import Forecast, PastForecast
    from shapca.storage import ObjectStore
    from shapca.training.memory import StepMemory


def forecast(
    space: Annotated[
        Path,
        typer.Argument(
            help="Search-space file (YAML), or the name of one that comes along, or of a sweep "
            "of the storage."
        ),
    ],
    set_: Overrides = None,
    storage: Storage = "storage",
    data_root: DataRoot = None,
    slots: Annotated[
        int | None,
        typer.Option(min=1, help="Trials at once.", show_default="as this machine allows"),
    ] = None,
    gpu_memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Memory of a GPU, e.g. 24GiB: how many trials it has room for.",
            show_default="this machine's",
        ),
    ] = None,
    epoch_seconds: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            help="What an epoch takes where the sweep will run; nothing is trained here.",
            show_default="measured",
        ),
    ] = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="Train an epoch even if the sweep has trained some.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Forecast a sweep's time, GPU hours and disk, from one real epoch or those it has trained."""
    from orchestrator.cluster.resources import check_resources, idle, this_machine
    from orchestrator.store.address import absolute_uri, is_remote, open_store, resolve_data_root
    from orchestrator.sweeps.checks import forecast as forecasts
    from orchestrator.sweeps.checks.doctor import largest_model
    from orchestrator.sweeps.checks.memory import (
        memory_of,
        parse_size,
        room_for,
        sharing,
        smallest_gpu,
    )
    from orchestrator.sweeps.checks.probe import probe as train_one_epoch
    from orchestrator.sweeps.record.history import History
    from shapca.storage import FolderStore

    address = absolute_uri(storage)
    is_new = not is_remote(address) and not Path(address).exists()
    # A refused forecast makes no folder.
    store: ObjectStore = FolderStore(address) if is_new else open_store(address)
    sweep = _sweep_of(space, set_ or (), store)
    history = History.read(store, sweep)
    root = resolve_data_root(data_root, sweep.runtime)
    card = parse_size(gpu_memory) if gpu_memory is not None else smallest_gpu()
    on_cuda = card is not None or sweep.resources.gpus > 0
    here = this_machine()
    is_elsewhere = sweep.resources.gpus > 0 and here["GPU"] == 0
    cost = None if probe else forecasts.recorded_cost(store, history)
    if epoch_seconds is not None:
        size = largest_model(sweep)
        cost = replace(size, seconds=epoch_seconds, source="as given")
    elif cost is None and is_elsewhere:
        cost = forecasts.cost_of_another(store, sweep)
        if cost is None:
            raise InputError(
                f"resources.gpu: {sweep.resources.gpus:g}, and this machine has no GPU to measure "
                "an epoch on: give --epoch-seconds, or run it where a GPU is"
            )
    if slots is None and not is_elsewhere:
        check_resources([here], sweep.resources)  # refused before anything is measured
    if cost is None:
        threads = sweep.runtime.num_threads or max(1, int(sweep.resources.cpu))
        changes = {"data_root": root, "num_threads": threads}
        cost = train_one_epoch(sweep, sweep.runtime.model_copy(update=changes))
    memory, unknown = None, ""
    try:
        memory = memory_of(sweep, root, on_cuda=on_cuda)
    except InputError as error:
        unknown = str(error)
    num = None if memory is None or card is None else room_for(memory, card)
    if sweep.resources.gpu == "auto" and num:
        sweep = sharing(sweep, num)
    if slots is None:
        slots = 1 if is_elsewhere else check_resources([here], sweep.resources)
    found = forecasts.forecast(sweep, history, cost, slots)
    past = forecasts.past_forecasts(store)
    if is_new:
        typer.echo(f"storage {address} did not exist: it is made to keep the forecast", err=True)
    forecasts.record(open_store(address), found)
    unused = None if is_elsewhere else idle([here], sweep.resources)
    if as_json:
        past_records = [{**vars(one), "error": one.error} for one in past]
        step = {**(asdict(memory) if memory else {}), "trials_a_gpu": num}
        answer = {**asdict(found), "past": past_records, "memory": step}
        typer.echo(json.dumps(answer, sort_keys=True))
    else:
        _show(found, past)
        if memory is None:
            typer.echo(f"  memory of a trial: not known here ({unknown})")
        else:
            _show_memory(memory, card, on_cuda=on_cuda)
        if unused is not None:
            typer.echo(f"  {unused}")


def _sweep_of(given: Path, overrides: Sequence[str], store: ObjectStore) -> SweepConfig:
    """The sweep of a file, or of that name in the storage.

    Raises:
        InputError: There is neither, or the file is no search space.
    """
    from orchestrator.config.sweep import SweepConfig
    from orchestrator.store.sweep_folder import SWEEP, in_sweep
    from orchestrator.sweeps.record.declaration import recall

    name = str(given)
    try:
        file = shipped.find(given, "search_spaces")
    except InputError as error:
        if not re.fullmatch(NAME, name):
            raise
        if store.get(in_sweep(name, SWEEP)) is None:
            raise InputError(f"{error}; nor is there a sweep of that name in the storage") from None
        tree = recall(store, name).model_dump(mode="json")
        return validate(SweepConfig, apply_overrides(tree, overrides), f"sweep {name}")
    return SweepConfig.load(file, overrides)


def _show_memory(memory: StepMemory, card: int | None, *, on_cuda: bool) -> None:
    from orchestrator.sweeps.checks.memory import gib, room_for

    kept = memory.weights + memory.moments
    typer.echo(
        f"  memory of a trial: {gib(memory.peak)} of tensors at the peak on "
        f"{'a GPU' if on_cuda else 'a CPU'}, {gib(kept)} of it weights and AdamW's moments"
    )
    if card is not None:
        num = counted(room_for(memory, card), "trial")
        typer.echo(f"  a GPU of {gib(card)} has room for {num} at once")


def _show(found: Forecast, past: list[PastForecast]) -> None:
    from shapca.commands.display.training_display import duration

    cost = found.cost
    slots = counted(found.slots, "slot")
    typer.echo(f"{found.sweep}: {cost.seconds:.3g} s an epoch ({cost.source}), {slots}")
    for phase in found.phases:
        typer.echo(
            f"  {phase.phase}: {counted(phase.trials, 'trial')} of {phase.epochs:.1f} epochs, "
            f"{duration(3600 * phase.hours)}"
        )
    end = time.strftime("%Y-%m-%d %H:%M", time.localtime(found.at + 3600 * found.hours))
    typer.echo(
        f"  in all {duration(3600 * found.hours)} "
        f"(at most {duration(3600 * found.hours_at_most)}): until {end}"
    )
    typer.echo(
        f"  GPU hours {found.gpu_hours:.2f}; disk {found.disk_bytes / 2**30:.2f} GiB at most"
    )
    for limit in found.limits:
        typer.echo(f"  the budget {limit} is expected to end it earlier")
    for one in past[-5:]:
        said, took = duration(3600 * one.forecast_hours), duration(3600 * one.actual_hours)
        typer.echo(
            f"  earlier forecast of {one.sweep}: {said} forecast, {took} taken ({one.error:+.0%})"
        )
    if len(past) > 1:
        typer.echo(f"  median error of {len(past)} forecasts: {median(p.error for p in past):+.0%}")

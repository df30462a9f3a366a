"""`orchestrator doctor`: whether a sweep can run, and what to do where it cannot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.arguments import (
    DataRoot,
    RayAddress,
    Storage,
    TrackingUriOrNone,
    is_training_file,
)
from shapca.commands.options import AsJson, Overrides
from shapca.config import load_training_file, read_yaml, shipped
from shapca.errors import InputError

if TYPE_CHECKING:
    from orchestrator.config.sweep import SweepConfig


def doctor(
    space: Annotated[
        Path | None,
        typer.Argument(metavar="SPACE", help="As for `sweep`, or a training file."),
    ] = None,
    set_: Overrides = None,
    storage: Storage = "storage",
    tracking_uri: TrackingUriOrNone = None,
    data_root: DataRoot = None,
    address: RayAddress = None,
    ask_hub: Annotated[
        bool, typer.Option("--ask-hub", help="Ask the hub about weights that are not here.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check all that a sweep or a run needs. Exit code 1 if something would stop it."""
    from orchestrator.cluster.session import RayOptions
    from orchestrator.store.address import absolute_uri, resolve_data_root
    from orchestrator.sweeps.checks import doctor as examine
    from orchestrator.sweeps.checks.doctor_cluster import examine_cluster, examine_machine
    from orchestrator.sweeps.checks.memory import examine_memory, smallest_gpu
    from orchestrator.tracking.client.addresses import NO_TRACKING, resolve_tracking
    from shapca.storage.processes import num_cpus

    cluster = RayOptions(address).cluster
    place = absolute_uri(storage)

    def examined() -> Iterator[examine.Finding]:
        sweep, is_run = None, False
        if space is not None:  # what else is wrong is said all the same
            try:
                sweep, is_run = _read(space, set_ or [])
            except InputError as error:
                remedy = "`orchestrator config` and `shapca config` list every key of such a file"
                yield examine.Finding("fail", "file", str(error), remedy)
        yield from examine.examine_versions()
        yield from examine.examine_language()
        stored = list(examine.examine_storage(place))
        yield from stored
        if cluster is None:
            yield from examine_machine(None if is_run else sweep)
        else:
            yield from examine_cluster(cluster, None if is_run else sweep, place)
        if tracking_uri == NO_TRACKING:
            yield examine.Finding("ok", "tracking", "off, as asked for")
        else:
            try:
                uri = resolve_tracking(tracking_uri, place)
            except InputError as error:
                yield examine.Finding("fail", "tracking", str(error), "give --tracking-uri")
            else:
                yield from examine.examine_tracking(uri)
        if sweep is None:
            return
        root = resolve_data_root(data_root, sweep.runtime)
        yield from examine.examine_data(sweep, root)
        yield from examine.examine_weights(sweep, ask_hub=ask_hub)
        if sweep.resources.gpus > 0 and cluster is None:
            yield from examine_memory(sweep, root, smallest_gpu())
        if stored[0].level == "ok" and not is_run:
            slots = sweep.resources.max_concurrent or num_cpus()
            yield from examine.examine_disk(sweep, place, slots)

    findings = []
    for finding in examined():
        findings.append(finding)
        if not as_json:
            typer.echo(f"{finding.level.upper():<4}  {finding.subject}: {finding.message}")
            if finding.remedy:
                typer.echo(f"      → {finding.remedy}")
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], ensure_ascii=False))
    if any(finding.level == "fail" for finding in findings):
        raise typer.Exit(1)


def _read(file: Path, overrides: list[str]) -> tuple[SweepConfig, bool]:
    """A sweep's file; or a training file as a sweep of one configuration, and that it is one.

    Raises:
        InputError: as of the file.
    """
    from orchestrator.config.sweep import SweepConfig

    try:
        is_run = is_training_file(read_yaml(shipped.find(file, "search_spaces")))
    except InputError:
        is_run = False  # its own message
    if not is_run:
        return SweepConfig.load(file, overrides), False
    experiment, runtime = load_training_file(file, overrides)
    tree = experiment.model_dump(mode="json", exclude_defaults=True)
    form = {
        "name": "run",
        "configurations": {"run": {"experiment": tree}},
        "protocol": {"kind": "listed"},
        "runtime": runtime,
    }
    return SweepConfig.model_validate(form), True

"""`orchestrator doctor`: whether a sweep can run, and what to do where it cannot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.commands.arguments import DataRoot, RayAddress, Storage, TrackingUriOrNone
from shapca.commands.options import AsJson, Overrides


def doctor(
    space: Annotated[Path | None, typer.Argument(metavar="SPACE", help="As for `sweep`.")] = None,
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
    """Check all that a sweep needs. Exit code 1 if something would stop it."""
    from orchestrator.cluster.session import RayOptions
    from orchestrator.config.sweep import SweepConfig
    from orchestrator.store.address import absolute_uri, resolve_data_root
    from orchestrator.sweeps.checks import doctor as examine
    from orchestrator.sweeps.checks.doctor_cluster import examine_cluster, examine_machine
    from orchestrator.tracking.client.addresses import NO_TRACKING, resolve_tracking
    from shapca.errors import InputError
    from shapca.storage.processes import num_cpus

    sweep = None if space is None else SweepConfig.load(space, set_ or ())
    cluster = RayOptions(address).cluster
    place = absolute_uri(storage)

    def examined() -> Iterator[examine.Finding]:
        yield from examine.examine_versions()
        yield from examine.examine_language()
        stored = list(examine.examine_storage(place))
        yield from stored
        if cluster is None:
            yield from examine_machine(sweep)
        else:
            yield from examine_cluster(cluster, sweep, place)
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
        if stored[0].level == "ok":
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

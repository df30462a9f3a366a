"""`orchestrator contexts`: `shapca contexts generate`, spread over the workers of a Ray."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from orchestrator.commands.arguments import RayAddress, WaitForResources, work_is_kept
from shapca.commands.generation import generate, run_generation
from shapca.commands.options import examples, with_options_of
from shapca.errors import InputError

EPILOG = examples(
    "orchestrator contexts --generator hf:Salesforce/blip-image-captioning-base --data data/mine "
    "--out raw/captions.jsonl --gpus-per-worker 1",
)


@with_options_of(generate)
def contexts(
    *,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=10_000,
            help="Workers, each with its model.",
            show_default="all that fit",
        ),
    ] = None,
    cpus_per_worker: Annotated[
        float, typer.Option(min=0.01, help="CPU cores that a worker occupies.")
    ] = 1.0,
    gpus_per_worker: Annotated[
        float, typer.Option(min=0.0, help="GPUs that a worker occupies; a fraction shares one.")
    ] = 0.0,
    address: RayAddress = None,
    wait_for_resources: WaitForResources = False,
    **options: Any,
) -> None:
    """Describe pictures on many workers, as one would. The same command again resumes."""
    from orchestrator.cluster.context_workers import Spread
    from orchestrator.cluster.session import RayOptions
    from orchestrator.config.resources import ResourceConfig

    if str(options["generator"]).startswith("captions:"):
        raise InputError("--generator captions:… needs no workers: use `shapca contexts generate`")
    spread = Spread(
        RayOptions(address, wait_for_resources),
        ResourceConfig(cpu=cpus_per_worker, gpu=gpus_per_worker, max_concurrent=workers),
    )
    with work_is_kept():
        run_generation(options, spread)

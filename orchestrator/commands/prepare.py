"""`orchestrator prepare`: `shapca data prepare`, its pictures and posts spread over a Ray."""

from __future__ import annotations

from typing import Any

from orchestrator.commands.arguments import RayAddress, WaitForResources, work_is_kept
from shapca.commands.options import examples, with_options_of
from shapca.commands.preparation import prepare as prepare_alone
from shapca.commands.preparation import run_preparation

EPILOG = examples(
    "orchestrator prepare mine --format jsonl --source posts.jsonl --split 0.8,0.1,0.1 "
    "--images /shared/images --out data/mine --address HEAD:6379",
)


@with_options_of(prepare_alone)
def prepare(
    *, address: RayAddress = None, wait_for_resources: WaitForResources = False, **options: Any
) -> None:
    """Prepare a data set on the nodes of a Ray, as one machine would. The same command resumes."""
    from orchestrator.cluster.preparation_workers import Nodes
    from orchestrator.cluster.session import RayOptions

    with work_is_kept(), Nodes(RayOptions(address, wait_for_resources)) as nodes:
        run_preparation(options, decode=nodes.decode, tag=nodes.tag)

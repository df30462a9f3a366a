"""`orchestrator push`: the champion of a sweep as a folder, or in a repository of the Hub."""

from __future__ import annotations

from typing import Any

from orchestrator.commands.arguments import SpaceOrName, Storage
from orchestrator.commands.models.opening import find_champion
from shapca.commands.options import examples, with_options_of
from shapca.commands.push import PushOptions, Repo

EPILOG = examples(
    "orchestrator push demo OWNER/NAME --private --data data/synthetic",
    "orchestrator push demo --folder saved",
)


@with_options_of(PushOptions)
def push(
    sweep: SpaceOrName, repo: Repo = None, storage: Storage = "storage", **options: Any
) -> None:
    """Hand a sweep's champion over, as `shapca push` does; its card has the scores over seeds."""
    asked = PushOptions(**options)
    asked.check(repo)
    champion = find_champion(sweep, storage)
    from shapca.prediction import Extractor

    asked.push(repo, Extractor.load(champion.run), champion.seeds)

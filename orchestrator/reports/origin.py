"""How a sweep and its winner are trained again: their files and commands."""

from __future__ import annotations

import shlex
from typing import Any

import yaml

from orchestrator.reports.content import Content


def winner_yaml(content: Content) -> str | None:
    """A training file that holds what differs from the defaults; None where there is no winner."""
    if content.experiment is None:
        return None
    tree: dict[str, Any] = content.experiment.model_dump(mode="json", exclude_defaults=True)
    head = f"# {content.name}: {content.winner.name if content.winner else ''}\n"
    return head + yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


def winner_commands(content: Content) -> list[str]:
    """Commands that train the reported seeds by themselves, and that use the kept model."""
    winner = content.winner
    if winner is None:
        return []
    test = "--test" if content.is_confirmed else "--no-test"
    commands = [
        f"shapca train winner.yaml --data-root data --seed {seed} {test}" for seed in winner.cells
    ]
    if content.outcome.model is not None:
        commands.append(f"shapca predict {shlex.quote(content.outcome.model)} --text '…'")
    return commands


def sweep_command(content: Content) -> str:
    """The command that runs the whole sweep again, or resumes it."""
    storage = shlex.quote(content.outcome.storage)
    command = f"study {content.name}.yaml" if content.is_listed else "sweep sweep.yaml"
    return f"orchestrator {command} --data-root data --storage {storage}"


def sweep_yaml(content: Content) -> str:
    """The sweep's file as it was run."""
    tree = content.sweep.model_dump(mode="json", exclude_defaults=True, exclude={"runtime"})
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)

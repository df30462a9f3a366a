"""The parts of a report's page that say what it cost, where it comes from, and how it is made."""

from __future__ import annotations

import shlex
from typing import Any

import yaml

from orchestrator.reports.content import Content
from orchestrator.reports.markup import Cell, Child, Html, element, fact_list, state_chip, table
from shapca.commands.display.training_display import duration
from shapca.words import counted


def cost(content: Content) -> Html | None:
    """What the sweep cost, and what was saved."""
    trials = content.trials
    if not trials:
        return None
    trained = sum(trial.trained for trial in trials)
    whole = sum(trial.epochs for trial in trials if trial.state in ("done", "pruned"))
    spared = sum(trial.epochs - trial.epoch for trial in trials if trial.state == "pruned")
    found = sum(trial.found for trial in trials)
    resources = content.sweep.resources
    seconds = sum(trial.seconds for trial in trials)
    facts: list[tuple[str, Child]] = [
        ("wall time of its drivers", duration(content.outcome.seconds)),
        (
            "trial time",
            f"{duration(seconds)} on {resources.cpu:g} CPU and {resources.gpu:g} GPU each",
        ),
        ("epochs trained", f"{trained}"),
        ("epochs spared by early stopping", f"{spared} of {whole}" if spared else "none"),
        ("trials found in the storage", f"{found}"),
    ]
    if resources.gpu:
        facts.append(("GPU hours", f"{seconds * resources.gpu / 3600:.2f}"))
    return element("div", fact_list(facts), class_="card")


def reproduction(content: Content) -> Html:
    """Commands and files."""
    parts: list[Html] = [
        element(
            "p", "The whole sweep, new or resumed; what is in the storage is not trained again:"
        ),
        element("pre", sweep_command(content)),
    ]
    if commands := winner_commands(content):
        parts.append(element("p", "The reported runs alone, and the kept model:"))
        parts.append(element("pre", "\n".join(commands)))
    if (text := winner_yaml(content)) is not None:
        parts.append(_file("winner.yaml", text, is_open=True))
    parts.append(_file("sweep.yaml", sweep_yaml(content)))
    return element("div", parts, class_="card")


def provenance(content: Content) -> Html:
    """Hashes of what was read, and what the cells were trained with."""
    inputs = [
        [Cell(name), Cell(part), Cell(element("code", digest))]
        for name, parts in content.inputs.items()
        for part, digest in parts.items()
    ]
    parts: list[Html] = []
    if inputs:
        parts.append(
            table([("data set", None), ("part", None), ("hash", None)], inputs, sortable=False)
        )
    for one in content.surroundings:
        is_present = one.code == content.code
        cells = counted(one.num_cells, "cell")
        facts: list[tuple[str, Child]] = [
            ("cells", cells),
            (
                "training code",
                [
                    element("code", one.code), " ",
                    state_chip("done", "as at present") if is_present else state_chip("stale"),
                ],
            ),
            ("git commit", element("code", one.git_commit or "none")),
            ("device", f"{one.device}, {counted(one.num_threads, 'thread')}"),
            ("versions", ", ".join(f"{name} {v}" for name, v in sorted(one.versions))),
        ]  # fmt: skip
        parts.append(element("div", fact_list(facts), class_="card", style="margin-top:14px"))
    return element("div", parts)


def _file(name: str, text: str, *, is_open: bool = False) -> Html:
    return element("details", element("summary", name), element("pre", text), open=is_open)


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
        commands.append(f"shapca predict {quoted(content.outcome.model)} --text '…'")
    return commands


def sweep_command(content: Content) -> str:
    """The command that runs the whole sweep again, or resumes it."""
    storage = quoted(content.outcome.storage)
    command = f"study {content.name}.yaml" if content.is_listed else "sweep sweep.yaml"
    return f"orchestrator {command} --data-root data --storage {storage}"


def sweep_yaml(content: Content) -> str:
    """The sweep's file as it was run."""
    tree = content.sweep.model_dump(mode="json", exclude_defaults=True, exclude={"runtime"})
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


def quoted(path: str) -> str:
    """A path as a shell takes it."""
    return shlex.quote(path)

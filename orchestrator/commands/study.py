"""`orchestrator study`: a paper's tables and figures from cells that are trained where missing."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.commands.arguments import RunOptions, existing_storage
from shapca.commands.options import AsJson, Overrides, examples, with_options_of
from shapca.words import counted

EPILOG = examples(
    "orchestrator study search_spaces/paper/demo/table1.yaml --out tables",
    "orchestrator study search_spaces/paper/demo/table1.yaml --no-train",
)

if TYPE_CHECKING:
    from orchestrator.studies.config import StudyConfig
    from orchestrator.studies.run import StudyOutcome
    from orchestrator.sweeps.driver import SweepOptions


@with_options_of(RunOptions)
def study(
    studies: Annotated[
        list[Path],
        typer.Argument(metavar="STUDY...", help="Study files (YAML), or names such as table1."),
    ],
    set_: Overrides = None,
    row: Annotated[
        list[str] | None, typer.Option(help="Run this row only; repeatable. All are shown.")
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(help="Run this data set of the study only; repeatable. All are shown."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Copy tables and figures to this folder as well.")
    ] = None,
    no_train: Annotated[
        bool, typer.Option("--no-train", help="Only show what the storage holds.")
    ] = False,
    power: Annotated[
        bool, typer.Option("--power", help="Only say which differences the studies can show.")
    ] = False,
    as_json: AsJson = False,
    **options: Any,
) -> None:
    """Run studies. The same command again resumes them and repeats nothing."""
    from orchestrator.studies.config import StudyConfig
    from orchestrator.studies.run import run_study

    how = RunOptions(**options).for_driver()
    configs = [StudyConfig.load(path, set_ or ()) for path in studies]  # all, before any is run
    if no_train:
        existing_storage(how.storage)  # looking at studies makes none
    if power:
        for config in configs:
            _show_power(config, how)
        return
    answers = []
    is_whole = True
    for config in configs:
        outcome = run_study(
            config,
            how,
            rows=row or (),
            data=data or (),
            train=not no_train,
            say=partial(typer.echo, err=True),
        )
        answers.append(_record(outcome))
        if not as_json:
            _show(outcome, how.storage)
        if out is not None:
            _copy(outcome, how.storage, out)
        if outcome.is_interrupted:
            raise typer.Exit(130)
        is_whole = is_whole and (no_train or not outcome.failures)
    if as_json:
        typer.echo(json.dumps(answers, ensure_ascii=False, sort_keys=True))
    if not is_whole:
        raise typer.Exit(1)


def _show_power(config: StudyConfig, how: SweepOptions) -> None:
    from orchestrator.store.address import resolve_data_root
    from orchestrator.store.cell_factory import CellFactory
    from orchestrator.studies.plan import plan_study, read_winners
    from orchestrator.studies.power import foresee, in_words

    # Only winners of sweeps are looked up in a storage: a study that names none makes none.
    needs_storage = any((config.from_sweep, *(data.from_sweep for data in config.data.values())))
    winners = read_winners(config, existing_storage(how.storage)[1]) if needs_storage else {}
    plan = plan_study(config, winners)
    factory = CellFactory(resolve_data_root(how.data_root, config.runtime))
    typer.echo("\n".join((f"{config.name}:", *in_words(foresee(plan, factory)))))


def _record(outcome: StudyOutcome) -> dict[str, object]:
    from orchestrator.tables.formats import to_json

    return {
        "study": outcome.study.name,
        "status": None if outcome.sweep is None else outcome.sweep.status,
        "counts": {} if outcome.sweep is None else dict(outcome.sweep.counts),
        "failures": list(outcome.failures),
        "files": outcome.files,
        "table": to_json(outcome.table),
    }


def _show(outcome: StudyOutcome, storage: str) -> None:
    from orchestrator.studies.view import study_lines, table_view
    from shapca.commands.display.console import open_console

    console = open_console()
    console.print(table_view(outcome.table))
    for line in study_lines(outcome, storage):
        console.print(line, soft_wrap=True, highlight=False)


def _copy(outcome: StudyOutcome, storage: str, out: Path) -> None:
    from orchestrator.reports.make import copy_files
    from orchestrator.store.address import absolute_uri, open_store

    store = open_store(absolute_uri(storage))
    found = {file: store.get(name) for file, name in outcome.files.items()}
    contents = {file: content for file, content in found.items() if content is not None}
    copy_files(contents, out)
    typer.echo(f"{counted(len(contents), 'file')} in {out}", err=True)

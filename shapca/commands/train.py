"""`shapca train`: one run, from a configuration to its test score."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shapca.commands.options import AsJson, Overrides, examples
from shapca.words import counted

EPILOG = examples(
    "shapca train configs/demo.yaml",
    "shapca train configs/demo.yaml --seed 2 --set optimisation.epochs=5 --out runs/short",
)

if TYPE_CHECKING:
    from shapca.runs.epochs import FitResult


def train(
    config: Annotated[Path, typer.Argument(help="Training YAML, or a name such as demo.")],
    set_: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option(
            show_default="runs/CONFIG-seedN",
            help="Folder of the run; an existing one is resumed.",
        ),
    ] = None,
    data_root: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the prepared data sets.",
            show_default="the file's runtime.data_root, else $SHAPCA_DATA, else data",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of everything random.")] = 1,
    test: Annotated[
        bool, typer.Option("--test/--no-test", help="Score the best weights on the test split.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Train one model, keep its best weights, and score them on the test split once."""
    from shapca.config import load_training_file

    experiment, runtime = load_training_file(config, set_ or ())
    root = data_root or runtime.data_root
    folder = out or Path("runs") / f"{config.stem}-seed{seed}"

    import torch

    from shapca.commands.display.training_display import TrainingDisplay
    from shapca.data.prepared import PreparedData
    from shapca.runs.epochs import num_epochs
    from shapca.runs.run_folder import check_run_folder, held_run_folder
    from shapca.storage import FolderStore
    from shapca.training import fit

    check_run_folder(folder)
    data = PreparedData.load(root / experiment.data.dataset)
    with held_run_folder(folder), TrainingDisplay(experiment.optimisation.epochs) as display:
        store = FolderStore(folder)
        try:
            result = fit(
                experiment,
                data,
                seed=seed,
                runtime=runtime,
                store=store,
                on_epoch=display.on_epoch,
                on_step=display.on_step,
                test=test,
            )
        except KeyboardInterrupt:
            num = num_epochs(store)
            kept = f"{counted(num, 'epoch')} kept" if num else "no epoch is kept yet"
            display.say(f"interrupted; {kept} in {folder}: run the same command again to resume")
            raise
        except (torch.OutOfMemoryError, MemoryError) as error:
            display.say("\n".join((f"failed: {error}", *getattr(error, "__notes__", ()))))
            raise typer.Exit(1) from error
    if as_json:
        test_metrics = None if result.test is None else result.test.metrics
        print(json.dumps({**result.to_json(), "test_metrics": test_metrics, "run": str(folder)}))
    else:
        _print_summary(result, folder)
    if result.status == "diverged":
        print(f"diverged: {result.reason}", file=sys.stderr)
        raise typer.Exit(1)


def _print_summary(result: FitResult, folder: Path) -> None:
    from shapca.commands.display.console import open_console
    from shapca.commands.display.tables import score_table

    print(f"{result.status}: {result.reason}")
    scores: dict[str, Mapping[str, float]] = {}
    if result.best_epoch is not None:
        valid = {
            name.removeprefix("val/"): value
            for name, value in result.best_metrics.items()
            if name.startswith("val/") and name != "val/seconds"
        }
        scores[f"valid (epoch {result.best_epoch})"] = valid
    if result.test is not None:
        scores["test"] = result.test.metrics
    if scores:
        open_console().print(score_table(scores))
    print(f"run: {folder}")

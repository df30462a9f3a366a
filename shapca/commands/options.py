"""Options that several commands share, and how a command takes over those of another."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from shapca.config import Precision

FinishedRun = Annotated[Path, typer.Argument(help="Folder of a finished run.")]
Prepared = Annotated[Path, typer.Argument(help="A prepared folder.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the file; repeatable."),
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda:N.")]
Computing = Annotated[
    Precision | None,
    typer.Option(
        "--precision",
        help="fp32, tf32 or bf16, which is slow on a CPU without AMX.",
        show_default="as the run was trained",
    ),
]
LabelMap = Annotated[
    list[str] | None,
    typer.Option(
        metavar="A=B|FILE",
        help="The model's type A is the data's type B, or a YAML file of `A: B` lines; repeatable. "
        "Types of the same name need no line.",
    ),
]
Out = Annotated[Path, typer.Option(help="Folder to make; it appears when it is complete.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a prepared folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def examples(*lines: str) -> str:
    """Command lines to be shown under a command's help, as Typer takes them."""
    return "\n\n".join(("Examples:", *lines))


def with_options_of(
    other: Callable[..., Any],
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Let a command take another's options before its own; they reach it as keywords."""

    def extend(command: Callable[..., Any]) -> Callable[..., Any]:
        every = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for function in (other, command)
            for parameter in inspect.signature(function, eval_str=True).parameters.values()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        command.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in every}
        return command

    return extend

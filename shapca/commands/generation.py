"""`shapca contexts generate`: the options, and what is printed of the run.

The options are here once; a command that answers the pictures elsewhere takes them over.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from shapca.commands.options import AsJson, examples
from shapca.errors import InputError
from shapca.words import counted

EPILOG = examples(
    "shapca contexts generate --generator hf:Salesforce/blip-image-captioning-base "
    "--data data/mine --out raw/captions.jsonl --import blip",
    "shapca contexts generate --generator ocr:rapidocr --images raw/images --out raw/ocr.jsonl",
)

if TYPE_CHECKING:
    from shapca.contexts.report import GenerationReport
    from shapca.contexts.run import Execute


def generate(
    generator: Annotated[
        str,
        typer.Option(
            help="hf:MODEL-OR-FOLDER (transformers, image and text), openai:MODEL (any endpoint "
            "that speaks its protocol), ocr:rapidocr (the text in a picture), "
            "labels:efficientnet-lite0 or -lite2 (ImageNet names) or captions:FILE (ready-made)."
        ),
    ],
    out: Annotated[Path, typer.Option(help="JSONL file of records; an existing one is resumed.")],
    images: Annotated[
        Path | None, typer.Option(help="Folder of pictures, any folders below it included.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Prepared folder: contexts for its posts' pictures, from --images where that is "
            "given, else from the stored squares."
        ),
    ] = None,
    prompt: Annotated[
        Path | None, typer.Option(help="File with the prompt.", show_default="a plain request")
    ] = None,
    temperature: Annotated[
        float, typer.Option(min=0.0, max=5.0, help="1: the model's own distribution; 0: greedy.")
    ] = 1.0,
    max_new_tokens: Annotated[
        int, typer.Option(min=1, max=4096, help="Longest answer, in the model's tokens.")
    ] = 128,
    seed: Annotated[
        int, typer.Option(min=0, help="Together with a picture's hash it fixes what is drawn.")
    ] = 0,
    batch_size: Annotated[
        int, typer.Option(min=1, max=1024, help="Pictures (hf) or requests (openai) at once.")
    ] = 8,
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        typer.Option(help="Type of the weights (hf); auto: as saved."),
    ] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda:0 … (hf)")] = "auto",
    attempts: Annotated[
        int,
        typer.Option(
            min=1, max=20, help="Answers to ask for, for each picture, until one is a text."
        ),
    ] = 3,
    keep_cut: Annotated[
        bool, typer.Option("--keep-cut", help="Accept answers cut at --max-new-tokens.")
    ] = False,
    refusal: Annotated[
        list[str] | None,
        typer.Option(
            help="Regular expression that matches a refusal in words; repeatable; replaces the "
            "built-in ones ('(?!)' matches nothing)."
        ),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask again about empty, refused and cut answers.")
    ] = False,
    base_url: Annotated[
        str | None, typer.Option(envvar="OPENAI_BASE_URL", help="Address of the endpoint (openai).")
    ] = None,
    key_variable: Annotated[
        str, typer.Option(help="Environment variable that holds the endpoint's key.")
    ] = "OPENAI_API_KEY",
    requests_per_minute: Annotated[
        float | None, typer.Option(min=0.01, help="Limit on all requests together (openai).")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for an answer.")] = 120.0,
    max_retries: Annotated[
        int, typer.Option(min=0, max=100, help="Times a request is repeated after a fault.")
    ] = 6,
    max_wait: Annotated[
        float, typer.Option(min=0.0, help="Longest wait between repetitions, in seconds.")
    ] = 120.0,
    price_in: Annotated[
        float | None, typer.Option(min=0.0, help="Price of a million tokens read.")
    ] = None,
    price_out: Annotated[
        float | None, typer.Option(min=0.0, help="Price of a million tokens written.")
    ] = None,
    max_cost: Annotated[
        float | None, typer.Option(min=0.0, help="Stop when this run has cost more than this.")
    ] = None,
    token_limit_name: Annotated[
        Literal["max_tokens", "max_completion_tokens"],
        typer.Option(help="What the endpoint calls the limit on new tokens."),
    ] = "max_tokens",
    import_as: Annotated[
        str | None,
        typer.Option("--import", metavar="NAME", help="Import into --data as this context set."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="With --import: replace a set of that name.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Describe pictures. It may be interrupted at any time: the same command again resumes."""
    from shapca.contexts.run import alone

    run_generation(dict(locals()), alone)


def run_generation(options: Mapping[str, Any], execute: Execute) -> None:
    """Do what the options of `generate` ask for.

    Args:
        options: All of them by name.
        execute: How batches are answered.

    Raises:
        InputError: something asked for is not there.
        typer.Exit: with 1 if pictures stayed unanswered, or not one text came of it.
    """
    from shapca.commands.display.progress import progress_report
    from shapca.contexts.run import generate_contexts

    data, name, out = options["data"], options["import_as"], options["out"]
    _check_import(data, name)
    settings = _settings(options)
    source = _source(options["images"], data, settings.kind != "captions")
    try:
        with progress_report() as progress:
            report = generate_contexts(
                source,
                settings,
                out,
                execute=execute,
                retry_failed=options["retry_failed"],
                max_cost=options["max_cost"],
                progress=progress,
            )
    except KeyboardInterrupt:
        print(
            f"interrupted; what is done is in {out}: run the same command again to resume",
            file=sys.stderr,
        )
        raise
    imported = None
    if name is not None and report.num_texts:
        from shapca.data.preparation.prepare import add_context_sets

        sets = add_context_sets(data, {name: [out]}, overwrite=options["overwrite"])
        imported = sets[name].to_json()
    if options["as_json"]:
        record = {**report.to_json(), "out": str(out), "imported": imported}
        print(json.dumps(record, ensure_ascii=False))
    else:
        _show(report, out, name, imported)
    if not report.is_complete or not report.num_texts:
        raise typer.Exit(1)


def _check_import(data: Path | None, name: str | None) -> None:
    from shapca.config import NAME

    if name is None:
        return
    if data is None:
        raise InputError("--import: expected --data too, the prepared folder to import into")
    if not re.fullmatch(NAME, name):
        raise InputError(f"--import {name!r}: expected letters, digits, '.', '_' and '-'")


def _settings(options: Mapping[str, Any]) -> Any:
    from shapca.contexts.settings import PROMPT, REFUSALS, EndpointSettings, read_prompt
    from shapca.contexts.settings import GenerationSettings as Settings

    endpoint = EndpointSettings(**_fields(EndpointSettings, options))
    own = _fields(Settings, options)
    own["prompt"] = PROMPT if options["prompt"] is None else read_prompt(options["prompt"])
    own["refusals"] = REFUSALS if options["refusal"] is None else tuple(options["refusal"])
    return Settings(**{**own, "endpoint": endpoint})


def _fields(kind: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in kind.__dataclass_fields__ if name in options}


def _source(images: Path | None, data: Path | None, needs_pixels: bool) -> Any:
    from shapca.contexts.pictures import pictures_of_data, pictures_of_folder

    if data is not None:
        return pictures_of_data(data, images, needs_pixels=needs_pixels)
    if images is None:
        raise InputError("expected --images FOLDER, --data PREPARED, or both")
    return pictures_of_folder(images)


def _show(
    report: GenerationReport, out: Path, name: str | None, imported: Mapping[str, Any] | None
) -> None:
    from shapca.commands.display.console import open_console
    from shapca.commands.display.tables import print_context_report

    console = open_console()

    def say(line: str) -> None:
        console.print(line, soft_wrap=True, markup=False, highlight=False)

    counts = ", ".join(f"{n:,} {s.replace('_', ' ')}" for s, n in report.statuses.items())
    say(f"{out}: {counted(report.num_images, 'picture')}: {counts or 'none'}")
    rate = report.num_generated / max(report.seconds, 1e-3)
    parts = [f"this run: {report.num_generated:,} generated ({rate:,.1f}/s)"]
    for number, what in (
        (report.num_kept, "there already"),
        (report.num_same, "the same as another"),
        (report.num_absent, "without a picture"),
        (report.num_cut, "half-written line cut off"),
        (report.attempts - report.num_generated, "answers asked for again"),
        (report.retries, "requests repeated after faults"),
        (report.prompt_tokens, "tokens read"),
        (report.tokens, "tokens written"),
    ):
        if number is not None and number > 0:
            parts.append(f"{number:,} {what}")
    if report.cost is not None:
        parts.append(f"cost {report.cost:.4f}")
    say(", ".join(parts))
    for image, reason in report.reasons.items():
        say(f"without a text: {image}: {reason}")
    if report.stopped is not None:
        say(f"stopped: {report.stopped}; run the same command again to resume")
    elif report.statuses.get("failed"):
        say("run the same command again to try the failed ones again")
    if name is not None and imported is not None:
        print_context_report(console, name, imported)

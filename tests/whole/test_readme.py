"""The README says nothing that is not so: its commands parse or run, its files are there."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import typer
import yaml
from typer.testing import CliRunner

import orchestrator.cli
import shapca.cli
from orchestrator.config.sweep import SweepConfig
from orchestrator.store import cell_folder, sweep_folder
from shapca.config import ExperimentConfig
from shapca.errors import InputError
from shapca.runs import layout
from tests.paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
EXTRAS = set(
    tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
)
APPLICATIONS = {"shapca": shapca.cli.app, "orchestrator": orchestrator.cli.app}
# Done in seconds and without further data, so these are run; all others are parsed.
QUICK = (("shapca", "parameters"), ("shapca", "data", "synthesise"))


class Block(NamedTuple):
    language: str
    text: str


def blocks(text: str) -> list[Block]:
    """Fenced code blocks."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [Block(language, content) for language, content in found]


def commands(text: str) -> list[list[str]]:
    """Words of every command in the shell blocks, without comments and variables set before."""
    found = []
    for block in blocks(text):
        if block.language in ("sh", "bash", "console"):
            for line in block.text.replace("\\\n", " ").splitlines():
                words = shlex.split(line.removeprefix("$ "), comments=True)
                while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                    words.pop(0)
                if words:
                    found.append(words)
    return found


def parse(command: Any, words: list[str]) -> list[str]:
    """Let typer parse a command line down to its last option, and run nothing.

    Returns:
        Names of the sub-commands.
    """
    context = command.make_context(command.name or "", list(words[1:]))
    if not hasattr(command, "resolve_command"):
        return [words[0]]
    rest = [*getattr(context, "_protected_args", []), *context.args]
    name, child, arguments = command.resolve_command(context, rest)
    return [words[0], *parse(child, [name, *arguments])]


def check_command(words: list[str]) -> None:
    """Refuse a command that its program would refuse.

    Raises:
        AssertionError: a program that is not known here, or a target that make does not know.
        Exception: the program's own refusal.
    """
    program = words[0]
    if program == "make":
        run = ["make", "--dry-run", *words[1:]]
        done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    elif program in APPLICATIONS:
        parse(typer.main.get_command(APPLICATIONS[program]), words)
    elif program == "mlflow":
        from mlflow.cli import cli

        parse(cli, words)
    elif program == "ray":
        from ray.scripts.scripts import cli as ray_cli

        parse(ray_cli, words)
    elif program == "sbatch":  # Slurm is not here: its script is tested where cluster files are
        script = next(word for word in words[1:] if not word.startswith("-"))
        assert (ROOT / script).is_file(), f"{script} is not in this project"
    elif words[:2] == ["pip", "install"]:
        for word in words[2:]:
            name, _, extras = word.rstrip("]").partition("[")
            if word == "requirements.lock":
                assert (ROOT / word).is_file()
            elif not word.startswith("-"):
                assert name in (".", "shap-ca"), name
                assert set(extras.split(",")) - {""} <= EXTRAS
    else:
        raise AssertionError(f"{program}: what does this run?")


COMMANDS = commands(README)


def test_the_readme_holds_commands_of_both_programs() -> None:
    assert {"make", *APPLICATIONS} <= {words[0] for words in COMMANDS}


@pytest.mark.parametrize("words", COMMANDS, ids=shlex.join)
def test_every_command_parses(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    check_command(words)
    for word in words[1:]:
        folder = word.partition("/")[0]
        if folder in ("configs", "examples", "orchestrator", "search_spaces", "mlflow", "tests"):
            assert (ROOT / word).exists(), f"{word} is not in this project"


@pytest.mark.parametrize(
    "line",
    [
        "make no-such-target",
        "shapca evaluate runs/first",  # --data is missing
        "shapca predict runs/first --text a --no-such-option",
        "shapca data prepare twitter2017 --source DIR --contexts",
        "shapca train config.yaml --seed one",
        "shapca no-such-command",
        "orchestrator sweep",
        "orchestrator ui --port 0",
        "pip install something",
        "pip install .[no_such_extra]",
        "ray no-such-command",
        "sbatch --nodes=3 no/such/script.sh",
    ],
)
def test_a_wrong_command_would_be_found(line: str) -> None:
    with pytest.raises(Exception):
        check_command(shlex.split(line))


@pytest.mark.parametrize(
    "words",
    [w for w in COMMANDS if any(tuple(w[: len(quick)]) == quick for quick in QUICK)],
    ids=shlex.join,
)
def test_quick_commands_run(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder that holds the README's own configuration."""
    monkeypatch.chdir(tmp_path)
    for block in blocks(README):
        if block.language == "yaml" and "task" in yaml.safe_load(block.text):
            (tmp_path / "config.yaml").write_text(block.text, encoding="utf-8")
    result = CliRunner().invoke(APPLICATIONS[words[0]], words[1:])
    assert result.exception is None
    assert result.exit_code == 0


@pytest.mark.parametrize("block", [b for b in blocks(README) if b.language == "yaml"])
def test_every_yaml_block_is_valid(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "block.yaml"
    path.write_text(block.text, encoding="utf-8")
    keys = set(yaml.safe_load(block.text))
    if "space" in keys:
        SweepConfig.load(path)
    else:
        ExperimentConfig.load(path)
    path.write_text(block.text + "\nno_such_key: 1\n", encoding="utf-8")
    with pytest.raises(InputError, match="no_such_key"):
        (SweepConfig if "space" in keys else ExperimentConfig).load(path)


def file_map(text: str) -> Iterator[Path]:
    """Files and folders that the annotated map names: first words of its lines, by indentation."""
    (block,) = [b for b in blocks(text) if not b.language and b.text.startswith("shapca/")]
    folder = Path()
    for line in block.text.splitlines():
        is_inside = line.startswith(" ")
        for word in line.split():
            if not re.fullmatch(r"[\w.-]+(/|\.py|\.yaml|\.toml|\.lock|\.md)|Makefile", word):
                break
            yield folder / word if is_inside else Path(word)
        if not is_inside:
            folder = Path(line.split()[0])


def test_the_file_map_names_only_what_is_there() -> None:
    named = list(file_map(README))
    assert len(named) > 20
    assert [str(path) for path in named if not (ROOT / path).exists()] == []


def test_the_file_map_names_every_folder() -> None:
    named = set(file_map(README))
    wanted = {
        path.relative_to(ROOT)
        for package in APPLICATIONS
        for path in (ROOT / package).iterdir()
        if path.is_dir() and not path.name.startswith(("_", "."))
    }
    assert sorted(map(str, wanted - named)) == []


def test_paths_that_the_guide_for_contributors_names_are_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:shapca|orchestrator|tests)/[\w./]+)`", text)
    assert len(named) > 10
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("module", [cell_folder, layout, sweep_folder])
def test_the_page_on_the_storage_shows_every_name_in_it(module: ModuleType) -> None:
    names = {value for name, value in vars(module).items() if name.isupper()}
    (block,) = blocks((ROOT / "docs" / "storage.md").read_text(encoding="utf-8"))
    assert len(names) > 3
    assert {name for name in names if name not in block.text} == set()


def test_links_and_paths_in_the_text_are_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in target:
            assert (ROOT / target).exists(), target

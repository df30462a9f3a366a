"""The code's fingerprint changes with what can change a result, and with nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from shapca.provenance import (
    code_fingerprint,
    fingerprint_folder,
    git_commit,
    library_versions,
    syntax_without_text,
)

SOURCE = '''"""Module."""
RATE = 1
"""About the rate."""

class Thing:
    """A thing."""
    width: int = 3
    """Its width."""

    def area(self):
        """Area."""
        return self.width ** 2  # squared
'''


@pytest.mark.parametrize(
    "changed",
    [
        SOURCE.replace("Area.", "The area."),
        SOURCE.replace("About the rate.", "Rate."),
        SOURCE.replace("# squared", "# to the power of two"),
        SOURCE.replace("\n\n", "\n\n\n"),
        SOURCE.replace('"""Area."""\n        ', ""),
    ],
)
def test_words_about_code_do_not_count(changed: str) -> None:
    assert changed != SOURCE
    assert syntax_without_text(changed) == syntax_without_text(SOURCE)


@pytest.mark.parametrize(
    "changed",
    [
        SOURCE.replace("= 1", "= 2"),
        SOURCE.replace("** 2", "** 3"),
        SOURCE.replace("return self.width", "return -self.width"),
        SOURCE.replace("RATE = 1", 'RATE = "1"'),
    ],
)
def test_code_counts(changed: str) -> None:
    assert changed != SOURCE
    assert syntax_without_text(changed) != syntax_without_text(SOURCE)


def package(folder: Path, **files: str) -> str:
    contents = {
        "a.py": SOURCE,
        "cli.py": "x = 1",
        "commands/train.py": "x = 1",
        "assets/words.txt": "a\n",
    } | {k.replace("__", "/"): v for k, v in files.items()}
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return fingerprint_folder(folder)


def test_which_files_count(tmp_path: Path) -> None:
    base = package(tmp_path / "base")
    assert package(tmp_path / "same") == base
    assert package(tmp_path / "cli", **{"cli.py": "x = 2"}) == base
    assert package(tmp_path / "command", **{"commands/train.py": "x = 2"}) == base
    assert package(tmp_path / "code", **{"a.py": SOURCE + "y = 1\n"}) != base
    assert package(tmp_path / "new", **{"b.py": ""}) != base
    assert package(tmp_path / "asset", **{"assets/words.txt": "b\n"}) != base


def test_this_package_has_a_fingerprint_and_versions() -> None:
    assert len(code_fingerprint()) == 16
    assert code_fingerprint() == code_fingerprint()
    versions = library_versions()
    assert versions["torch"].count(".") >= 2
    assert "not installed" not in versions.values()
    commit = git_commit()
    assert commit is None or len(commit.removesuffix("+changes")) == 40

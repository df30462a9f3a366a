"""Files that come along, found by name: configurations of runs, search spaces and studies.

They lie beside the packages in a checkout, and within them where a wheel was installed.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from shapca.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
PLACES = {"configs": "shapca", "search_spaces": "orchestrator"}


def find(given: str | Path, kind: str) -> Path:
    """The file that a path or a shipped file's name means.

    Args:
        given: A path stays as it is. A name has no ending: `demo`, `paper/table1`, or `table1`.
        kind: `configs` or `search_spaces`.

    Raises:
        InputError: Neither a file nor such a name.
    """
    path = Path(given)
    if path.suffix or path.is_file():
        return path
    folder = shipped_folder(kind)
    for candidate in (folder / f"{given}.yaml", folder / "paper" / f"{given}.yaml"):
        if candidate.is_file():
            return candidate
    known = sorted(
        file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.yaml")
    )
    near = get_close_matches(str(given), known, n=1)
    hint = f"did you mean {near[0]}? Those are" if near else "those are"
    raise InputError(
        f"{given}: no such file, and none that comes along; {hint}: {', '.join(known)}"
    )


def shipped_folder(kind: str) -> Path:
    """Where the files of a kind lie."""
    inside = ROOT / PLACES[kind] / kind
    return inside if inside.is_dir() else ROOT / kind

"""Where the benchmarks are obtained: text, captions and pictures, and under what terms.

None of it is part of this project: `assets/benchmarks.toml` says where it is, the file of hashes
beside it what the files are at the commits named there. A file with another hash is taken as well,
and reported as another.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from typing import Any

from pydantic import TypeAdapter

from shapca.config import Task
from shapca.data.preparation.readers import READERS, jmere, mnre, twitter
from shapca.errors import InputError

ASSETS = files("shapca") / "assets"


@dataclass(frozen=True)
class Repository:
    """A public git repository that holds some of a benchmark's files.

    Attributes:
        url: Its address.
        commit: The commit whose files are known here.
        folder: Where the files lie in it.
        holds: What is there.
        terms: Its licence, as far as it names one.
    """

    url: str
    commit: str
    folder: str
    holds: str
    terms: str


@dataclass(frozen=True)
class BenchmarkSource:
    """What a user needs to know to bring one benchmark here.

    Attributes:
        name: As `shapca data prepare` calls it.
        task: Which task it serves.
        title: Its name and who published it.
        repositories: Where text and captions are.
        splits: For each split the names under which its file goes round, the first being ours.
        marks: A folder of the splits has one of these in its path, since their names are common;
            empty: the names themselves are distinctive.
        optional: Our name of a further file to the names under which it goes round.
        images: Where the pictures are, and how they are laid out.
        image_example: The name of one picture.
        terms: What using the data means.
        counts: Examples of each split, where they are known.
    """

    name: str
    task: Task
    title: str
    repositories: tuple[Repository, ...]
    splits: Mapping[str, tuple[str, ...]]
    marks: tuple[str, ...]
    images: str
    image_example: str
    terms: str
    counts: Mapping[str, int] = field(default_factory=dict)
    optional: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def hashes(self) -> dict[str, str]:
        """Our name of a file to its SHA-256 at the commits named, where it is known."""
        known = (ASSETS / "benchmark-files.sha256").read_text(encoding="utf-8")
        lines = (line.split(f"  {self.name}/") for line in known.splitlines())
        return {line[1]: line[0] for line in lines if len(line) == 2}

    @property
    def folders(self) -> set[str]:
        """Where the files lie in the repositories named here."""
        return {repository.folder for repository in self.repositories}

    @property
    def tree(self) -> tuple[str, ...]:
        """The files that `prepare` expects, then those that it can use."""
        return (*(names[0] for names in self.splits.values()), *self.optional)

    @property
    def captions(self) -> dict[str, list[str]]:
        """Context sets by name, with their files among `optional`, train before valid and test."""
        sets: dict[str, list[str]] = {}
        for file in self.optional:
            stem = file.rpartition("/")[2].rpartition(".")[0]
            if file.startswith("captions"):
                parts = stem.removeprefix("captions_").split("_")
                sets.setdefault(parts[0], []).append(file)
        return sets

    def prepare_command(self, source: str = "SOURCE") -> str:
        """The command that makes a prepared folder of all that is named here."""
        sets = " ".join(
            f"--contexts {name}=" + ",".join(f"{source}/{file}" for file in files)
            for name, files in list(self.captions.items())[:1]
        )
        return (
            f"shapca data prepare {self.name} --source {source} --images IMAGES"
            + (f" {sets}" if sets else " --contexts NAME=FILE")
            + f" --out data/{self.name}"
        )

    def to_json(self) -> dict[str, Any]:
        """As `shapca data sources --json` prints it."""
        record = asdict(self)
        record["tree"] = list(self.tree)
        record["hashes"] = self.hashes
        record["checks"] = list(CHECKS)
        record["prepare"] = self.prepare_command()
        return record


CHECKS = (
    "every line or record is read strictly; the first that does not fit ends the work, and is "
    "named by file and line",
    "labels are those of the benchmark; spans lie within the words; every example id is unique",
    "pictures are found by id in any folder below IMAGES; two different ones of one id are refused",
    "pictures that are missing or cannot be read are counted, and masked in training",
    "captions that are missing, empty, conflicting or of no post are counted and shown",
    "source files, captions and every part that is written are hashed into manifest.json",
)
"""How `shapca data prepare` checks what it is given."""

_SPLITS = {"mnre": mnre.FILES, "jmere": jmere.FILES}
_CATALOGUE = tomllib.loads((ASSETS / "benchmarks.toml").read_text(encoding="utf-8"))
_SAME_FILES = {"fmnerg-coarse": "fmnerg"}
SOURCES: Mapping[str, BenchmarkSource] = {
    name: TypeAdapter(BenchmarkSource).validate_python(
        {
            "name": name,
            "splits": _SPLITS.get(name, twitter.FILES),
            **_CATALOGUE[_SAME_FILES.get(name, name)],
        }
    )
    for name in READERS
}


def source_of(name: str) -> BenchmarkSource:
    """What is known of a benchmark.

    Raises:
        InputError: an unknown name.
    """
    if name not in SOURCES:
        raise InputError(f"{name!r}: unknown data set; expected one of {', '.join(SOURCES)}")
    return SOURCES[name]

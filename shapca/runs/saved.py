"""A model in a folder of its own, to be handed over: complete, small, and of nobody's machine.

    config.json          what the run was, labels, how posts are read, scores; no path
    model.safetensors    the best weights, no optimizer state
    encoder/text/ …      the encoders' own files: tokenizer and architecture
    README.md            the model card, which is not read back

Such a folder may come from anybody: it is read without pickles, and files beyond their bounds, and
links out of it, are refused.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter
from torch import Tensor
from typing_extensions import TypedDict

from shapca.config import ExperimentConfig, validate
from shapca.errors import InputError
from shapca.runs.forms import EvaluationForm, Run
from shapca.runs.layout import RUN, evaluation_record
from shapca.runs.run_record import RunRecord
from shapca.runs.tensors import pack
from shapca.storage import FolderStore, ObjectStore, read_json, to_json
from shapca.storage.files import below
from shapca.storage.objects import TEMPORARY, check_name

SAVED, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
ENCODERS = ("encoder/text/", "encoder/image/")
KIND = "shap-ca"
MOST_BYTES = {SAVED: 4 * 2**20, WEIGHTS: 16 * 2**30}
MOST_BYTES_OF_ENCODER_FILE = 64 * 2**20
MOST_ENCODER_FILES = 32
_PLACES = ("_name_or_path", "name_or_path", "tokenizer_file", "vocab_file", "merges_file")
_PATH = re.compile(r"(~?/|[A-Za-z]:[\\/]).*[\\/].*", re.DOTALL)


@dataclass(frozen=True)
class SplitScores:
    """Scores of a model on a split of its data.

    Attributes:
        split: `valid` or `test`.
        num_posts: Posts of the split.
        num_gold: What is to be found in them.
        metrics: Percentages by name, as `Evaluation` has them.
    """

    split: Literal["valid", "test"]
    num_posts: int
    num_gold: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class SeedTable:
    """F1 of a model's configuration over the seeds that a sweep reports.

    Attributes:
        sweep: The sweep's name.
        phase: Which of its phases trained them.
        val: Best validation F1 by seed.
        test: Test F1 by seed.
    """

    sweep: str
    phase: str
    val: dict[str, float]
    test: dict[str, float]


@dataclass(frozen=True)
class Measured:
    """What is known of a model beside its weights.

    Attributes:
        splits: Its scores.
        seeds: Those of its configuration over seeds.
        counts: Posts, entities, … of its data by split.
    """

    splits: tuple[SplitScores, ...] = ()
    seeds: SeedTable | None = None
    counts: dict[str, dict[str, int]] = field(default_factory=dict)


class SavedForm(TypedDict):
    """`config.json`."""

    model_type: Literal["shap-ca"]
    format: Literal[1]
    run: Run
    measured: Measured


_MEASURED = TypeAdapter(Measured)


class SavedFolder(FolderStore):
    """The folder of a saved model, to be read.

    Args:
        root: The folder.
        blobs: The one other folder that its files may be links into: that of a hub's cache.
    """

    def __init__(self, root: str | Path, blobs: Path | None = None) -> None:
        super().__init__(root)
        self._blobs = None if blobs is None else blobs.resolve()

    def _path(self, name: str) -> Path:
        place = self.root / check_name(name)
        with self._told(place):
            target = place.resolve() if place.is_symlink() else place
            path = target if target.parent == self._blobs else below(self.root, name)
            if path.is_file() and (size := path.stat().st_size) > most_bytes(name):
                raise InputError(f"{place}: {size:,} bytes, expected {most_bytes(name):,} at most")
        return path

    def list(self, prefix: str = "", after: str = "") -> list[str]:
        """Sorted names of the files right under a folder, e.g. `encoder/text/`, after a name."""
        with self._told(self.root / prefix):
            folder = below(self.root, prefix)
            found = os.scandir(folder) if folder.is_dir() else ()
            names = [prefix + entry.name for entry in found if not entry.is_dir()]
        if len(names) > MOST_ENCODER_FILES:
            raise InputError(f"{folder}: {len(names)} files, expected {MOST_ENCODER_FILES} at most")
        return sorted(name for name in names if TEMPORARY not in name and name > after)


def most_bytes(name: str) -> int:
    """How large a file of a saved model may be."""
    return MOST_BYTES.get(name, MOST_BYTES_OF_ENCODER_FILE)


def is_saved(folder: Path) -> bool:
    """Whether a folder looks like that of a saved model rather than that of a run."""
    return (folder / SAVED).is_file() and not (folder / RUN).exists()


def _check_target(folder: Path) -> None:
    """Refuse to save over what is no saved model.

    Raises:
        InputError: it is no folder, or it holds files of something else.
    """
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder to write to")
    if next(folder.iterdir(), None) is None:
        return
    try:
        read_description(SavedFolder(folder))
    except InputError:
        raise InputError(
            f"{folder}: expected a new or empty folder, or that of a saved model, but it holds "
            "something else"
        ) from None


def write_saved(
    folder: Path,
    record: RunRecord,
    weights: Mapping[str, Tensor],
    encoder_files: Mapping[str, bytes],
    measured: Measured,
    card: str,
) -> None:
    """Write a model; the description comes last, so that a folder with it is complete.

    Args:
        folder: Where to: new, empty, or that of a saved model.
        record: What the run was; paths in it are left out.
        weights: By name.
        encoder_files: The encoders' own files by name.
        measured: What is known of the model.
        card: The model card.

    Raises:
        InputError: the folder holds something else.
    """
    _check_target(folder)
    store = FolderStore(folder)
    store.delete(SAVED)  # what it describes is here no more
    store.put(WEIGHTS, pack(weights))
    for name in {n for prefix in ENCODERS for n in store.list(prefix)} - set(encoder_files):
        store.delete(name)
    for name, content in encoder_files.items():
        store.put(name, without_places(name, content))
    store.put(CARD, card.encode())
    run = record.to_json()
    run["config"] = portable(record.config).model_dump(mode="json")
    description = {"model_type": KIND, "format": 1, "run": run, "measured": asdict(measured)}
    store.put(SAVED, to_json(description))


def portable(config: ExperimentConfig) -> ExperimentConfig:
    """A configuration without the paths of a machine, which read `<path>` as in its keys."""
    dumped = config.model_dump(mode="json")
    for section, part in config.canonical().items():
        if isinstance(part, dict):
            dumped[section] |= {key: value for key, value in part.items() if value == "<path>"}
    return validate(ExperimentConfig, dumped, SAVED)


def without_places(name: str, content: bytes) -> bytes:
    """An encoder's file without what says where it lay when it was read."""
    if not name.endswith("config.json"):
        return content  # vocabularies, which may well hold what looks like a path
    return json.dumps(_without_places(json.loads(content)), indent=2, ensure_ascii=False).encode()


def _without_places(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_places(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _without_places(item)
        for key, item in value.items()
        if key not in _PLACES and not (isinstance(item, str) and _PATH.fullmatch(item))
    }


def read_description(store: SavedFolder) -> tuple[RunRecord, Measured]:
    """What a saved model is.

    Raises:
        InputError: the folder holds none, or its description is damaged.
    """
    refusal = (
        f"{store.root}: no saved model; expected a folder that `save_pretrained` wrote, with "
        f"{SAVED} and {WEIGHTS}"
    )
    found = read_json(store, SAVED)
    if not isinstance(found, dict) or found.get("model_type") != KIND:
        raise InputError(refusal)
    if found.get("format") != 1:
        raise InputError(f"{store.root}: {SAVED}: format {found.get('format')!r}, expected 1; "
                         "written by a newer version?")  # fmt: skip
    described: Any = read_json(store, SAVED, SavedForm)
    try:
        record = RunRecord.from_json(described["run"])
    except InputError as error:
        raise InputError(f"{store.root}: {SAVED}: {error}") from error
    return record, _MEASURED.validate_python(described["measured"])


def measured_in(store: ObjectStore) -> Measured:
    """The scores that a run's store holds of its best weights.

    Raises:
        InputError: a record of them is damaged.
    """
    found = []
    names: dict[Literal["valid", "test"], str] = {
        "valid": evaluation_record("valid"),
        "test": evaluation_record("test"),
    }
    for split, name in names.items():
        record = read_json(store, name, EvaluationForm)
        if record is not None:
            rows = record["per_example"].get("main", [])
            gold = sum(counts[2] for counts in rows if len(counts) == 3)
            found.append(SplitScores(split, len(rows), gold, record["metrics"]))
    return Measured(tuple(found))

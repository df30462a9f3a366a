"""What is fuzzed: a sound file, and what reads it. A new parser joins by one line of `PARSERS`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch

from orchestrator.cluster.parcels.delivery import delivered
from orchestrator.config.sweep import SweepConfig
from orchestrator.store.cells import CellStore, test_averages
from orchestrator.store.lease import Lease, holder_of
from orchestrator.studies.config import StudyConfig
from orchestrator.sweeps.checks.forecast import past_forecasts
from orchestrator.sweeps.record.declaration import check_kind, declare, recall
from orchestrator.sweeps.record.status import sweep_status
from orchestrator.tracking.journal import Entry, Journal
from orchestrator.tracking.run_document import read_runs, write_run
from shapca.config import ExperimentConfig, apply_overrides, validate
from shapca.contexts.generators.generator import Identity
from shapca.contexts.record_file import RecordFile
from shapca.data.images import image_id
from shapca.data.preparation.captions import import_contexts
from shapca.data.preparation.context_record import ContextRecord
from shapca.data.preparation.readers import READERS
from shapca.data.schema import Labels
from shapca.data.word_splitter import WordSplitter
from shapca.evaluation.evaluate import EvaluationRecord
from shapca.evaluation.label_map import read_label_map
from shapca.model.encoders import load_image_encoder, load_text_model, load_tokenizer
from shapca.model.encoders.processing import image_processing
from shapca.prediction.request import extract
from shapca.runs.checkpoint import load_history, load_state, pack, unpack
from shapca.runs.epochs import EpochRecord
from shapca.runs.forms import EvaluationForm
from shapca.runs.reading import Reading
from shapca.runs.run_record import Environment, RunRecord, load_run
from shapca.runs.saved import SavedFolder, read_description
from shapca.runs.trained import best_epoch
from shapca.storage import FolderStore, read_json, to_json
from shapca.training.random_state import RandomState
from tests.encoder_families import TEXT_FAMILIES, save_image_encoder, save_text_encoder
from tests.factories import tiny_config
from tests.orchestrator.fakes import execute, open_sweep, sweep_config
from tests.orchestrator.publishing import parent, trial
from tests.paths import FIXTURES, ROOT
from tests.stores import MemoryStore

PUBLISHED = "sweeps/small/published/x"
CPU = torch.device("cpu")
Read = Callable[[bytes], object]


@dataclass(frozen=True)
class Parser:
    """A kind of file.

    Attributes:
        name: For people.
        form: How it is damaged (`mutations.damaged`).
        sound: Gives the content of a sound one.
        read: Reads the content of one; bad input is an InputError, anything else a fault.
    """

    name: str
    form: str
    sound: Callable[[], bytes]
    read: Read


@cache
def folder() -> Path:
    return Path(mkdtemp(prefix="fuzz-"))


def in_file(name: str, read: Callable[[Path], object]) -> Read:
    """A reader of a file with this name."""

    def read_content(content: bytes) -> object:
        file = folder() / name
        file.write_bytes(content)
        return read(file)

    return read_content


# Runs.


@cache
def run() -> dict[str, bytes]:
    """A run that is on its way: the objects of its store."""
    record = EpochRecord(1, {"val/f1": 50.0, "train/loss": 1.0}, True, 1.0, 2.0)
    state = {"step": 3, "best_epoch": 1, "random": RandomState(1, CPU).to_json()}
    labels = Labels("mjere", ("PER",), ("peer",))
    described = RunRecord(
        config=tiny_config("mjere"), seed=1, data={"text": "a"}, weights={}, labels=labels,
        dataset="tiny", environments=(Environment.current(1, CPU),),
        reading=Reading.from_json({
            "words": WordSplitter(frozenset("#")).to_json(), "image_size": 40,
            "directions": [["PER", "PER", "peer", 3]],
        }),
    )  # fmt: skip
    evaluation = {
        "data": {"text": "a"}, "split": "test", "label_map": {}, "metrics": {"f1": 1.0},
        "per_example": {"main": [[1, 1, 1]]},
    }  # fmt: skip
    result = {
        "status": "finished", "reason": "all 1 epochs trained", "best_epoch": 1, "epochs_run": 1,
        "best_metrics": record.metrics, "alignment": None,
    }  # fmt: skip
    tensors = {"a.weight": torch.ones(2, 3), "b": torch.zeros(1)}
    return {
        "run.json": to_json(described.to_json()),
        "result.json": to_json(result),
        "epochs/0001.json": to_json(record.to_json()),
        "checkpoint/0001/state.json": to_json({**state, "record": record.to_json()}),
        "evaluations/test.json": to_json(evaluation),
        "best/0001.safetensors": pack(tensors),
    }


def in_run(name: str, read: Callable[[MemoryStore], object]) -> Parser:
    """A record of a run."""

    def read_content(content: bytes) -> object:
        store = MemoryStore()
        store.objects |= run() | {name: content}
        return read(store)

    form = "json" if name.endswith(".json") else "bytes"
    return Parser(name, form, lambda: run()[name], read_content)


def resume(store: MemoryStore) -> object:
    state = load_state(store)
    if state is not None:
        RandomState(2, CPU).load_json(state.random)
    return state


def evaluated(store: MemoryStore) -> object:
    record = read_json(store, "evaluations/test.json", EvaluationForm)
    return None if record is None else EvaluationRecord.from_json(record)


def saved_model() -> bytes:
    """The description of a saved model."""
    tree = {"run": json.loads(run()["run.json"]), "model_type": "shap-ca", "format": 1}
    scores = {"split": "test", "num_posts": 3, "num_gold": 4, "metrics": {"f1": 1.0, "f1_PER": 2.0}}
    seeds = {"sweep": "small", "phase": "confirm", "val": {"11": 1.0}, "test": {"12": 2.0}}
    counts = {"train": {"entities": 3}}
    measured = {"splits": [scores], "seeds": seeds, "counts": counts}
    return to_json({**tree, "measured": measured})


# Storages.


@cache
def storage() -> dict[str, bytes]:
    """The objects of a small sweep's storage."""
    root = folder() / "storage"
    sweep = sweep_config(protocol={"trials": 4, "confirm_seeds": [11]})
    execute(open_sweep(root, sweep), root)
    store = FolderStore(root)
    experiment, space = sweep.experiment, sweep.model_dump(mode="json")["space"]
    declared = {"protocol": {"kind": "confirm"}, "experiment": experiment, "space": space}
    declare(store, "small", declared)
    store.put("sweeps/small/sweep.json", to_json(sweep.model_dump(mode="json")))
    store.put("sweeps/small/delivery.json", to_json({
        "data": {"tiny": {"train.jsonl": "0" * 64}}, "weights": {"/w": {"config.json": "1" * 64}},
    }))  # fmt: skip
    store.put("sweeps/small/forecasts/1.json", to_json({"at": 1.0, "hours": 2.0}))
    entry = Entry("r" * 32, epochs=1, last_epoch_at=2.0, tags=["a"], artifacts={"a": "b"})
    Journal(store, PUBLISHED).write("search-1", entry)
    for document in (parent(), trial("aa")):
        write_run(store, "other", document)
    Lease(store, "small").acquire()._stop.set()
    objects = {name: store.get(name) or b"" for name in store.list()}
    shutil.rmtree(root)
    return objects


def cell() -> str:
    """A cell of that sweep which has ended."""
    return next(n for n in storage() if n.startswith("status/"))[len("status/") :].split(".")[0]


def in_storage(
    name: str, read: Callable[[MemoryStore], object], place: Callable[[], str] | None = None
) -> Parser:
    """A record of a storage."""
    at = place or (lambda: name)

    def read_content(content: bytes) -> object:
        store = MemoryStore()
        store.objects |= storage() | {at(): content}
        return read(store)

    return Parser(name.rpartition("/")[2], "json", lambda: storage()[at()], read_content)


def status(store: MemoryStore) -> object:
    return sweep_status(store, "small", "storage")


def cells_of(use: Callable[[CellStore, str], object]) -> Callable[[MemoryStore], object]:
    return lambda store: use(CellStore(store), cell())


# Requests, and files of people.


class Echo:
    """A model that reads what it is given and says nothing of it."""

    def extract_many(self, posts: Any) -> list[Any]:
        return [post for post in posts if f"{post.text}{post.context}{post.entities}" == ""]


def request(content: bytes) -> object:
    try:
        records = json.loads(content)
    except (ValueError, RecursionError):
        return None  # MLflow's to refuse
    if not isinstance(records, list) or not all(isinstance(r, dict) for r in records):
        return None
    return extract(Echo(), records)  # type: ignore[arg-type]


PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
REQUEST = [
    {"text": "a b", "context": "c", "image_base64": PICTURE + "rkJggg==", "entities": [[0, 1]]},
    {"text": "d", "image": None},
]
CONTEXT = ContextRecord("a.jpg", "0" * 64, "ok", text="t", generator="g", model="m")
IDENTITY = Identity("g", "m", None, {})


def records_of(file: Path) -> object:
    with RecordFile(file, IDENTITY) as opened:
        return opened.records


def benchmark(name: str, damaged_file: str) -> Parser:
    """A public file of a benchmark."""
    source = FIXTURES / name

    def read(content: bytes) -> object:
        place = folder() / name
        if not place.exists():
            shutil.copytree(source, place)
        (place / damaged_file).write_bytes(content)
        return READERS[name](place)

    return Parser(f"{name}/{damaged_file}", "bytes", (source / damaged_file).read_bytes, read)


def encoder(family: str, damaged_file: str, read: Callable[[str], object]) -> Parser:
    """A file in the folder of an encoder."""
    save = save_text_encoder if family in TEXT_FAMILIES else save_image_encoder
    saved = cache(lambda: save(family, folder() / family))

    def read_content(content: bytes) -> object:
        (saved() / damaged_file).write_bytes(content)
        with torch.device("meta"):
            return read(str(saved()))

    form = "json" if damaged_file.endswith(".json") else "bytes"
    sound = cache(lambda: (saved() / damaged_file).read_bytes())
    return Parser(f"{family}/{damaged_file}", form, sound, read_content)


def shipped(file: str) -> Callable[[], bytes]:
    return (ROOT / file).read_bytes


def override(content: bytes) -> object:
    text = content.decode("utf-8", "surrogateescape")
    tree = apply_overrides({"data": {"dataset": "a"}}, [text])
    return validate(ExperimentConfig, tree, "--set")


PARSERS = (
    Parser("experiment", "yaml", shipped("configs/twitter2017_minilm.yaml"),
           in_file("a.yaml", ExperimentConfig.load)),
    Parser("sweep", "yaml", shipped("search_spaces/demo.yaml"),
           in_file("b.yaml", SweepConfig.load)),
    Parser("study", "yaml", shipped("search_spaces/paper/table1_cpu.yaml"),
           in_file("c.yaml", StudyConfig.load)),
    Parser("--set", "bytes", lambda: b"optimisation.learning_rate=1e-3", override),
    Parser("label map", "yaml", lambda: b"PER: PERSON\nOTHER: MISC\n",
           in_file("d.yaml", lambda file: read_label_map([str(file)]))),
    in_run("run.json", load_run),
    in_run("result.json", lambda store: best_epoch(store, "run")),
    in_run("epochs/0001.json", lambda store: load_history(store, 1)),
    in_run("checkpoint/0001/state.json", resume),
    in_run("evaluations/test.json", evaluated),
    in_run("best/0001.safetensors", lambda store: unpack(store, "best/0001.safetensors")),
    Parser("saved model", "json", saved_model, in_file(
        "config.json", lambda file: read_description(SavedFolder(file.parent)))),
    in_storage("sweeps/small/sweep.json", status),
    in_storage("sweeps/small/declaration.json", lambda store: (
        check_kind(store, "small", is_study=False), recall(store, "small"))),
    in_storage("sweeps/small/events/000002.json", status),
    in_storage("sweeps/small/events/000003.json", status),
    in_storage("lease", lambda store: holder_of(store, "small"),
               lambda: "sweeps/small/lease/000001.json"),
    in_storage("beat", lambda store: holder_of(store, "small"),
               lambda: "sweeps/small/beat/000001.json"),
    in_storage("cell.json", cells_of(CellStore.cell), lambda: f"cells/{cell()}/cell.json"),
    in_storage("verdict", cells_of(CellStore.summary),
               lambda: next(n for n in storage() if n.startswith(f"status/{cell()}"))),
    in_storage("cell's test scores", cells_of(lambda cells, key: test_averages(cells, [key])),
               lambda: next(n for n in storage() if n.endswith("evaluations/test.json"))),
    in_storage("run document", lambda store: read_runs(store, "other"),
               lambda: "sweeps/other/runs/search-aa.json"),
    in_storage("journal", lambda store: Journal(store, PUBLISHED).entry("search-1"),
               lambda: "sweeps/small/published/x/search-1.json"),
    in_storage("sweeps/small/delivery.json", lambda store: delivered(store, "small")),
    in_storage("forecast", past_forecasts, lambda: "sweeps/small/forecasts/1.json"),
    Parser("request", "json", lambda: json.dumps(REQUEST).encode(), request),
    Parser("records of contexts", "lines", lambda: to_json(CONTEXT.to_json()) * 2,
           in_file("e.jsonl", records_of)),
    Parser("captions", "lines", lambda: b'{"image": "a.jpg", "text": "t"}\n' * 2,
           in_file("f.jsonl", lambda file: import_contexts([file], [image_id("a.jpg")]))),
    benchmark("mnre", "mnre_train.txt"),
    benchmark("twitter2017", "train.txt"),
    encoder("roberta", "config.json", lambda place: load_text_model(place, pretrained=False)),
    encoder("xlm-r", "tokenizer.json", load_tokenizer),
    encoder("electra", "vocab.txt", load_tokenizer),
    encoder("bertweet", "bpe.codes", load_tokenizer),
    encoder("swin", "config.json", lambda place: load_image_encoder(
        place, "pretrained", size=32, pretrained=False)),
    encoder("vit", "preprocessor_config.json", lambda place: image_processing(place, "pretrained")),
)  # fmt: skip

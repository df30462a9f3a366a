"""Sound runs and storages, and what reads one damaged object of them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import torch

from orchestrator.cluster.parcels.blobs import pack as pack_blob
from orchestrator.cluster.parcels.blobs import unpack as unpack_blob
from orchestrator.store.cell_folder import in_cell
from orchestrator.store.cells import CellStore
from orchestrator.store.lease import Lease
from orchestrator.sweeps.record.declaration import declare
from orchestrator.sweeps.record.status import sweep_status
from orchestrator.tracking.journal import Entry, Journal
from orchestrator.tracking.run_document import write_run
from shapca.build import build_model
from shapca.data.schema import Labels
from shapca.data.word_splitter import WordSplitter
from shapca.evaluation.evaluate import EvaluationRecord
from shapca.prediction import Extractor
from shapca.runs.checkpoint import Checkpoints
from shapca.runs.epochs import EpochRecord
from shapca.runs.forms import EvaluationForm
from shapca.runs.reading import Reading
from shapca.runs.run_record import Environment, RunRecord
from shapca.runs.tensors import pack, read_metadata
from shapca.storage import FolderStore, read_json, to_json
from shapca.training.random_state import RandomState
from tests.damage import damaged_bytes, damaged_json
from tests.factories import tiny_config
from tests.fuzz.parser import Parser, folder
from tests.orchestrator.fakes import execute, open_sweep, sweep_config
from tests.orchestrator.publishing import parent, trial
from tests.stores import MemoryStore

PUBLISHED = "sweeps/small/published/x"
CPU = torch.device("cpu")
PARCEL = hashlib.sha256(b"abc").hexdigest()

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
    scores = to_json({**evaluation, "split": "valid"})
    committed = {**state, "records": [record.to_json()], "best": {**evaluation, "split": "valid"}}
    return {
        "run.json": to_json(described.to_json()),
        "result.json": to_json(result),
        "epochs/0001.json": to_json(record.to_json()),
        "checkpoint/0001.safetensors": pack(
            {f"model/{name}": tensor for name, tensor in tensors.items()},
            {"state": to_json(committed).decode()},
        ),
        "best/0001.json": scores,
        "evaluations/test.json": to_json(evaluation),
        "best/0001.safetensors": pack(tensors),
    }


def in_run(name: str, read: Callable[[MemoryStore], object]) -> Parser:
    """A record of a run."""

    def read_content(content: bytes) -> object:
        store = MemoryStore()
        store.objects |= run() | {name: content}
        return read(store)

    damage = damaged_json if name.endswith(".json") else damaged_bytes
    return Parser(name, damage, lambda: run()[name], read_content)


def resume(store: MemoryStore) -> object:
    checkpoint = Checkpoints(store).load()
    if checkpoint is None:
        return None
    RandomState(2, CPU).load_json(checkpoint.state.random)
    return checkpoint.tensors() if "checkpoint/0001.safetensors" in store.objects else None


def state_of_checkpoint() -> bytes:
    return read_metadata(run()["checkpoint/0001.safetensors"], "checkpoint")["state"].encode()


def resume_state(content: bytes) -> object:
    metadata = {"state": content.decode("utf-8", "replace")}
    store = MemoryStore()
    store.objects |= run() | {"checkpoint/0001.safetensors": pack({}, metadata)}
    return resume(store)


def old_state() -> bytes:
    state = json.loads(state_of_checkpoint())
    (record,) = state.pop("records")
    del state["best"]
    return to_json({**state, "record": record})


def resume_old(content: bytes) -> object:
    """As older versions left a run: a checkpoint is a folder."""
    store = MemoryStore()
    store.objects |= run() | {"checkpoint/0001/state.json": content}
    store.delete("checkpoint/0001.safetensors")
    return resume(store)


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


LABELS = Labels("mner", ("PER",), ())


@cache
def model() -> dict[str, bytes]:
    """A finished run whose model has not learnt anything."""
    config = tiny_config(**{
        "image.encoder": "none", "fusion.width": 8, "head.hidden": 8, "text.max_length": 16,
    })  # fmt: skip
    network = build_model(config, LABELS, device=CPU, pretrained=False)
    described = RunRecord(
        config=config, seed=1, data={"text": "a"}, weights={}, labels=LABELS, dataset="tiny",
        environments=(Environment.current(1, CPU),), reading=Reading.learn("mner", (), None),
    )  # fmt: skip
    return run() | {
        "run.json": to_json(described.to_json()),
        "best/0001.safetensors": pack(network.state_dict()),
    }


def in_model(name: str) -> Parser:
    """An object of a run whose model is used."""

    def read_content(content: bytes) -> object:
        store = MemoryStore()
        store.objects |= model() | {name: content}
        return Extractor.load(store).extract("Maro in Ostra")

    damage = damaged_json if name.endswith(".json") else damaged_bytes
    return Parser(f"model's {name}", damage, lambda: model()[name], read_content)


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
    blob = folder() / "blob"
    blob.write_bytes(b"abc")
    pack_blob(store, blob, PARCEL)
    objects = {name: store.get(name) or b"" for name in store.list()}
    shutil.rmtree(root)
    ended = next(name for name in objects if name.startswith("status/"))
    cell = in_cell(ended.removeprefix("status/").partition(".")[0], "")
    first = json.loads(objects["sweeps/small/events/000001.json"])
    return objects | {
        "sweeps/small/events.json": to_json([first]),
        f"{cell}claim.json": to_json({"sweep": "small"}),
        f"{cell}attempt.json": to_json({"attempt": "a"}),
    }


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

    return Parser(name.rpartition("/")[2], damaged_json, lambda: storage()[at()], read_content)


def status(store: MemoryStore) -> object:
    return sweep_status(store, "small", "storage")


def cells_of(use: Callable[[CellStore, str], object]) -> Callable[[MemoryStore], object]:
    return lambda store: use(CellStore(store), cell())


def parcel(store: MemoryStore) -> object:
    return unpack_blob(store, PARCEL, Path(mkdtemp(dir=folder())))

"""What is fuzzed: a sound file, and what reads it. A new parser joins by one line of `PARSERS`."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image

from orchestrator.cluster.parcels.delivery import delivered
from orchestrator.config.sweep import SweepConfig
from orchestrator.store.averages import test_averages
from orchestrator.store.cells import CellStore
from orchestrator.store.lease import abandoned_at, holder_of
from orchestrator.studies.config import StudyConfig
from orchestrator.sweeps.checks.forecast import past_forecasts
from orchestrator.sweeps.record.declaration import check_kind, recall
from orchestrator.sweeps.record.event_log import EventLog, _packed, _unpacked
from orchestrator.tracking.journal import Journal
from orchestrator.tracking.run_document import read_runs
from shapca.config import ExperimentConfig, apply_overrides, validate
from shapca.contexts.generators.generator import Identity
from shapca.contexts.record_file import RecordFile
from shapca.data.decoding import FORMATS
from shapca.data.images import ImageStore, image_id
from shapca.data.preparation.captions import import_contexts
from shapca.data.preparation.context_record import ContextRecord
from shapca.data.preparation.image_writing import load_or_reason, write_images
from shapca.data.preparation.readers import READERS
from shapca.errors import InputError
from shapca.evaluation.label_map import read_label_map
from shapca.model.encoders import load_image_encoder, load_text_model, load_tokenizer
from shapca.model.encoders.processing import image_processing
from shapca.prediction import Extractor
from shapca.prediction.found_file import ENDING, _go_on
from shapca.prediction.post_file import PostForm, read_lines, read_posts
from shapca.prediction.request import extract
from shapca.runs.checkpoint import load_history
from shapca.runs.reading import Reading
from shapca.runs.run_record import load_run
from shapca.runs.saved import SavedFolder, read_description
from shapca.runs.tensors import unpack
from shapca.runs.trained import best_epoch
from shapca.storage import to_json
from tests.damage import damaged_bytes, damaged_json, damaged_lines, damaged_yaml
from tests.encoder_families import TEXT_FAMILIES, save_image_encoder, save_text_encoder
from tests.factories import tiny_config
from tests.fuzz.parser import Parser, folder, in_file
from tests.fuzz.stored import (
    PARCEL,
    PUBLISHED,
    cell,
    cells_of,
    evaluated,
    in_model,
    in_run,
    in_storage,
    old_state,
    parcel,
    resume,
    resume_old,
    resume_state,
    saved_model,
    state_of_checkpoint,
    status,
    storage,
)
from tests.paths import FIXTURES, ROOT
from tests.stores import MemoryStore


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
        opened.tidy()
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

    return Parser(f"{name}/{damaged_file}", damaged_bytes, (source / damaged_file).read_bytes, read)


def text_model() -> Extractor:
    """A model that reads posts and their contexts; it has no weights, since it finds nothing."""
    reading = Reading.learn("mner", (), None)
    trained: Any = SimpleNamespace(
        config=tiny_config(**{"image.encoder": "none"}), record=SimpleNamespace(reading=reading)
    )
    return Extractor(trained)


POSTS = (
    b'{"id": 1, "words": ["Maro", "in", "Ostra"], "pos": ["NOUN", "ADP", "NOUN"]}\n'
    b'{"text": "Ives left", "context": {"captions": "a port"}}\n'
)
FOUND = b'{"id": 1, "entities": []}\n{"id": 2, "entities": []}\n'


def posts(file: Path) -> object:
    read = read_posts(read_lines(file), PostForm(), text_model())
    return [json.dumps(post.id, ensure_ascii=False).encode() for post in read]  # as it is written


def found_before(file: Path) -> object:
    beside = file.with_name(file.name + ENDING)
    beside.write_bytes(b'{"model": "m"}')
    with file.open("r+b") as opened:
        return _go_on(opened, file, {"model": "m"}, [1, 2])


def source_before(file: Path) -> object:
    out = file.with_name(file.name.removesuffix(ENDING))
    out.write_bytes(FOUND)
    with out.open("r+b") as opened:
        return _go_on(opened, out, {"model": "m"}, [1, 2])


def picture(form: str) -> Parser:
    """A picture, as it is decoded for a data set: broken ones are told, with a reason."""
    content = io.BytesIO()
    Image.linear_gradient("L").resize((12, 8)).convert("RGB").save(content, form)

    def read(file: Path) -> object:
        found = load_or_reason(file, 8)
        if isinstance(found, str):
            raise InputError(found)
        return found

    return Parser(f"picture, {form}", damaged_bytes, content.getvalue, in_file(f"g.{form}", read))


def images_written(array: Path, journal: Path) -> ImageStore:
    images = {name: np.zeros((4, 4, 3), np.uint8) for name in ("a", "b")}
    return write_images(array, folder() / "k.json", images, 4, journal_file=journal)


@cache
def journal_of_images() -> Path:
    images_written(folder() / "sound.npy", folder() / "sound.jsonl")
    return folder() / "sound.jsonl"


def interrupted_images(journal: Path) -> object:
    """What a killed run had done is taken over as far as it is whole."""
    array = Path(shutil.copy(folder() / "sound.npy", folder() / "k.npy"))
    store = images_written(array, journal)
    assert list(store.index) == ["a", "b"]
    return store


def encoder(family: str, damaged_file: str, read: Callable[[str], object]) -> Parser:
    """A file in the folder of an encoder."""
    save = save_text_encoder if family in TEXT_FAMILIES else save_image_encoder
    saved = cache(lambda: save(family, folder() / family))

    def read_content(content: bytes) -> object:
        (saved() / damaged_file).write_bytes(content)
        with torch.device("meta"):
            return read(str(saved()))

    damage = damaged_json if damaged_file.endswith(".json") else damaged_bytes
    sound = cache(lambda: (saved() / damaged_file).read_bytes())
    return Parser(f"{family}/{damaged_file}", damage, sound, read_content)


def packed_events() -> bytes:
    store = MemoryStore()
    store.objects |= storage()
    return _packed(EventLog.load(store, "small").events)


def shipped(file: str) -> Callable[[], bytes]:
    return (ROOT / file).read_bytes


def override(content: bytes) -> object:
    text = content.decode("utf-8", "surrogateescape")
    tree = apply_overrides({"data": {"dataset": "a"}}, [text])
    return validate(ExperimentConfig, tree, "--set")


PARSERS = (
    Parser("experiment", damaged_yaml, shipped("configs/twitter2017_minilm.yaml"),
           in_file("a.yaml", ExperimentConfig.load)),
    Parser("sweep", damaged_yaml, shipped("search_spaces/demo.yaml"),
           in_file("b.yaml", SweepConfig.load)),
    Parser("study", damaged_yaml, shipped("search_spaces/paper/table1_cpu.yaml"),
           in_file("c.yaml", StudyConfig.load)),
    Parser("--set", damaged_bytes, lambda: b"optimisation.learning_rate=1e-3", override),
    Parser("label map", damaged_yaml, lambda: b"PER: PERSON\nOTHER: MISC\n",
           in_file("d.yaml", lambda file: read_label_map([str(file)]))),
    in_run("run.json", load_run),
    in_run("result.json", lambda store: best_epoch(store, "run")),
    in_run("epochs/0001.json", lambda store: load_history(store, 1)),
    in_run("checkpoint/0001.safetensors", resume),
    Parser("state of a checkpoint", damaged_json, state_of_checkpoint, resume_state),
    Parser("state of an old checkpoint", damaged_json, old_state, resume_old),
    in_run("evaluations/test.json", evaluated),
    in_run("best/0001.safetensors", lambda store: unpack(store, "best/0001.safetensors")),
    in_model("run.json"),
    in_model("best/0001.safetensors"),
    Parser("saved model", damaged_json, saved_model, in_file(
        "config.json", lambda file: read_description(SavedFolder(file.parent)))),
    in_storage("sweeps/small/sweep.json", status),
    in_storage("sweeps/small/declaration.json", lambda store: (
        check_kind(store, "small", is_study=False), recall(store, "small"))),
    in_storage("sweeps/small/events/000002.json", status),
    in_storage("sweeps/small/events/000003.json", status),
    in_storage("lease", lambda store: holder_of(store, "small"),
               lambda: "sweeps/small/lease/000001.json"),
    in_storage("beat", lambda store: (
        holder_of(store, "small", heartbeat=1e-4), abandoned_at(store, "small")),
               lambda: "sweeps/small/beat/000001.json"),
    in_storage("claim", cells_of(CellStore.claimed_by), lambda: f"cells/{cell()}/claim.json"),
    in_storage("attempt", cells_of(lambda cells, key: cells.is_current(key, "a")),
               lambda: f"cells/{cell()}/attempt.json"),
    in_storage("formerly packed events", status, lambda: "sweeps/small/events.json"),
    Parser("packed events", damaged_json, packed_events, lambda pack: _unpacked(pack, "pack")),
    in_storage("parcel", parcel, lambda: f"parcels/{PARCEL}/whole.json"),
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
    Parser("request", damaged_json, lambda: json.dumps(REQUEST).encode(), request),
    Parser("records of contexts", damaged_lines, lambda: to_json(CONTEXT.to_json()) * 2,
           in_file("e.jsonl", records_of)),
    Parser("captions", damaged_lines, lambda: b'{"image": "a.jpg", "text": "t"}\n' * 2,
           in_file("f.jsonl", lambda file: import_contexts([file], [image_id("a.jpg")]))),
    Parser("posts", damaged_lines, lambda: POSTS, in_file("h.jsonl", posts)),
    Parser("found", damaged_lines, lambda: FOUND, in_file("i.jsonl", found_before)),
    Parser("source of found", damaged_json, lambda: b'{"model": "m"}',
           in_file(f"j.jsonl{ENDING}", source_before)),
    Parser("pictures of a killed run", damaged_lines, (lambda: journal_of_images().read_bytes()),
           in_file("k.jsonl", interrupted_images)),
    *map(picture, FORMATS),
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

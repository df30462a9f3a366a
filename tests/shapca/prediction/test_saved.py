"""A model in a folder of its own: the same predictions, nothing of this machine, damage is told."""

from __future__ import annotations

import getpass
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from PIL import Image

from shapca.config import Task
from shapca.data.prepared import PreparedData
from shapca.errors import InputError
from shapca.prediction import About, Extractor, Post
from shapca.runs import saved
from shapca.runs.saved import SeedTable, without_places
from tests.shapca.prediction.conftest import RUNTIME
from tests.stores import MemoryStore

TEXT, CONTEXT = "Frida Kahlo lives in Lisbon now", "a photo of a house"
GIVEN = {"mner": (), "mre": ((0, 11), (21, 27)), "mjere": ()}


def some_posts(folder: Path, task: Task, texts: Sequence[str] = ()) -> list[Post]:
    file = folder / "picture.png"
    Image.effect_noise((60, 40), 90).convert("RGB").save(file)
    return [
        *(Post(TEXT, image, words, GIVEN[task]) for image in (None, file)
          for words in (None, CONTEXT)),
        *(Post(text, file, CONTEXT) for text in texts),
    ]  # fmt: skip


@pytest.fixture
def folder(light: Extractor, tmp_path: Path) -> Path:
    light.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


@pytest.mark.parametrize("task", ["mner", "mre", "mjere"])
def test_what_is_read_back_predicts_the_same(
    extractors: dict[Task, Extractor],
    tiny_datasets: dict[Task, PreparedData],
    tmp_path: Path,
    task: Task,
) -> None:
    extractor, valid = extractors[task], tiny_datasets[task].splits["valid"]
    texts = [" ".join(example.words) for example in valid if task != "mre"]
    posts = some_posts(tmp_path, task, texts)
    wanted = extractor.extract_many(posts)
    assert any(found.entities or found.relations for found in wanted)
    extractor.save_pretrained(tmp_path / "first")
    files = {file.name for file in (tmp_path / "first").iterdir()}
    assert files == {"README.md", "config.json", "model.safetensors"}
    for read in (Extractor.from_pretrained, Extractor.load):
        again = read(tmp_path / "first", runtime=RUNTIME)
        assert again.extract_many(posts) == wanted
        assert again.fingerprint() == extractor.fingerprint()
        again.save_pretrained(tmp_path / "second")  # of a copy, and over what is there
        for name in files - {"README.md"}:
            first, second = (tmp_path / place / name for place in ("first", "second"))
            assert first.read_bytes() == second.read_bytes()


def test_nothing_tells_of_this_machine(
    light_store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    store.objects.update(light_store.objects)
    encoder = Path(json.loads(store.objects["run.json"])["config"]["text"]["encoder"])
    name = "encoder/text/tokenizer_config.json"  # as older libraries wrote it
    old = json.loads(store.objects[name]) | {"name_or_path": "joe", "x": {"cache": str(encoder)}}
    store.put(name, json.dumps(old).encode())
    extractor = Extractor.load(store, runtime=RUNTIME)
    extractor.save_pretrained(tmp_path / "saved")
    files = [file for file in (tmp_path / "saved").rglob("*") if file.is_file()]
    assert {"tokenizer.json", "tokenizer_config.json"} <= {file.name for file in files}
    for file in files:
        content = file.read_bytes()
        for secret in (str(encoder.parents[1]), "joe", "my-bert", f"{Path.home()}/"):
            assert secret.encode() not in content, (file, secret)
    if len(getpass.getuser()) > 4:
        assert getpass.getuser().encode() not in (tmp_path / "saved/config.json").read_bytes()
    monkeypatch.chdir(tmp_path)
    read = Extractor.from_pretrained("./saved", runtime=RUNTIME)
    assert read.config.text.encoder == "<path>"
    assert read.extract(TEXT, context=CONTEXT) == extractor.extract(TEXT, context=CONTEXT)
    assert read._trained.encoder_files.keys() == extractor._trained.encoder_files.keys()


def test_a_vocabulary_keeps_what_looks_like_a_path() -> None:
    content = b'{"name_or_path": "/home/joe/x", "kept": ["/a", "</s>", {"unk": "/"}], "d": "~/x/y"}'
    assert without_places("encoder/text/tokenizer.json", content) == content
    found = json.loads(without_places("encoder/text/tokenizer_config.json", content))
    assert found == {"kept": ["/a", "</s>", {"unk": "/"}]}


def damaged_json(change: Callable[[dict], object]) -> Callable[[Path], object]:  # type: ignore[type-arg]
    def damage(folder: Path) -> None:
        tree = json.loads((folder / "config.json").read_text())
        change(tree)
        (folder / "config.json").write_text(json.dumps(tree))

    return damage


def linked(folder: Path, name: str) -> None:
    (folder / name).rename(folder.parent / "elsewhere")
    (folder / name).symlink_to(folder.parent / "elsewhere")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "config.json").unlink(), "no saved model; expected a folder that"),
        (lambda f: (f / "config.json").write_text("[]"), "no saved model"),
        (lambda f: (f / "config.json").write_text("{"), "config.json is damaged"),
        (damaged_json(lambda t: t.update(model_type="bert")), "no saved model"),
        (damaged_json(lambda t: t.update(format=2)), "format 2, expected 1; written by a newer"),
        (damaged_json(lambda t: t.pop("run")), "config.json is damaged: run"),
        (damaged_json(lambda t: t["run"]["config"].update(task="x")), "task"),
        (damaged_json(lambda t: t.update(measured={"splits": 1})), "measured.splits"),
        (damaged_json(lambda t: t["run"]["config"]["head"].update(hidden=48)), "do not fit"),
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\x80\x04."), "is damaged"),
        (lambda f: linked(f, "model.safetensors"), "is a link"),
        (lambda f: linked(f, "config.json"), "is a link"),
    ],
)
def test_damage_is_one_message(
    folder: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(folder)
    with pytest.raises(InputError) as caught:
        Extractor.from_pretrained(folder, runtime=RUNTIME)
    assert message in str(caught.value)


def test_files_have_a_largest_size_and_number(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = (folder / "model.safetensors").stat().st_size
    monkeypatch.setitem(saved.MOST_BYTES, "model.safetensors", size - 1)
    with pytest.raises(InputError, match=rf"{size:,} bytes, expected {size - 1:,} at most"):
        Extractor.from_pretrained(folder)
    store = saved.SavedFolder(folder)
    for number in range(saved.MOST_ENCODER_FILES - 2):
        (folder / f"encoder/text/{number}.json").touch()
    with pytest.raises(InputError, match="33 files, expected 32 at most"):
        store.list("encoder/text/")


def test_pickles_are_not_read(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n")
    Extractor.from_pretrained(folder, runtime=RUNTIME)
    torch.save({}, folder / "model.safetensors")
    with pytest.raises(InputError, match="is damaged"):
        Extractor.from_pretrained(folder, runtime=RUNTIME)


def test_a_model_that_is_replaced_in_part_is_none(
    light: Extractor, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(saved, "without_places", full)  # behind the weights
    with pytest.raises(OSError, match="full"):
        light.save_pretrained(folder)
    assert (folder / "model.safetensors").exists()
    with pytest.raises(InputError, match="no saved model"):
        Extractor.from_pretrained(folder, runtime=RUNTIME)


def test_something_else_is_not_written_over(
    extractors: dict[Task, Extractor], light: Extractor, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    light.save_pretrained(tmp_path / "mine")  # empty
    for file in ("README.md", "config.json", "notes.txt"):
        shutil.rmtree(tmp_path / "mine")
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / file).write_text("{}")
        with pytest.raises(InputError, match="expected a new or empty folder"):
            light.save_pretrained(tmp_path / "mine")
        assert (tmp_path / "mine" / file).read_text() == "{}"
    with pytest.raises(InputError, match="expected a folder to write to"):
        light.save_pretrained(tmp_path / "mine/notes.txt")
    assert (folder / "encoder/text/config.json").exists()  # of another model
    extractors["mre"].save_pretrained(folder)
    assert not (folder / "encoder/text/config.json").exists()
    assert Extractor.from_pretrained(folder).config.task == "mre"


def test_the_card_holds_task_data_labels_scores_and_limits(
    extractors: dict[Task, Extractor], stores: dict[Task, MemoryStore], tiny_datasets:
    dict[Task, PreparedData], tmp_path: Path,
) -> None:  # fmt: skip
    data = tiny_datasets["mner"]
    seeds = SeedTable("my|sweep", "confirm", {"11": 90.0, "12": 92.0}, {"11": 80.0, "12": 84.0})
    about = About(license="cc-by-4.0", data=data.folder, seeds=seeds)
    extractors["mner"].save_pretrained(tmp_path / "shown", about=about)
    text = (tmp_path / "shown/README.md").read_text()
    card = ModelCard(text)
    header = card.data.to_dict()
    assert yaml.safe_load(text.split("---")[1]) == header
    best = json.loads(stores["mner"].objects["evaluations/valid.json"])
    index = header.pop("model-index")
    assert header == {
        "license": "cc-by-4.0", "library_name": "shap-ca", "pipeline_tag": "token-classification",
        "tags": ["named-entity-recognition", "multimodal", "social-media", "contrastive-learning"],
        "datasets": ["tiny-mner"], "metrics": ["precision", "recall", "f1"],
    }  # fmt: skip
    assert index[0]["name"] == "shown"
    shown = {m["type"]: m["value"] for m in index[0]["results"][0]["metrics"]}
    assert shown == {key: round(best["metrics"][key], 2) for key in ("f1", "precision", "recall")}
    gold = sum(counts[2] for counts in best["per_example"]["main"])
    assert f"| validation | 12 | {gold} |" in text
    counts = data.manifest.counts["train"]
    assert f"| train | {counts['entities']} | {counts['examples']} |" in text
    assert "| validation | 91.00 ± 1.41 | 11: 90.00, 12: 92.00 |" in text
    assert "| test | 82.00 ± 2.83 | 11: 80.00, 12: 84.00 |" in text
    assert "`my sweep`" in text
    for part in ("`LOC`", data.manifest.text_hash(), "## Limits", "not calibrated"):
        assert part in text
    other = About(data=tiny_datasets["mre"].folder)
    with pytest.raises(InputError, match="a data set for mre"):
        extractors["mner"].save_pretrained(tmp_path / "other", about=other)


def test_cosines_are_those_of_the_sides_that_a_post_has(
    extractors: dict[Task, Extractor], tmp_path: Path
) -> None:
    bare, with_context, with_image, whole = (
        extractors["mner"].cosines(post) for post in some_posts(tmp_path, "mner")
    )
    assert (bare, with_image) == ({}, {})
    assert set(with_context) == {"text and context"}
    assert set(whole) == {"text and context", "image and context"}
    assert whole["text and context"] == with_context["text and context"]
    assert all(-1 <= value <= 1 for value in whole.values())
    assert extractors["mner"].cosines(Post("")) == {}

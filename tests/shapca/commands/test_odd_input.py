"""Odd input that libraries answer with errors of their own ends in one message that names it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from shapca.cli import main
from shapca.commands.parameters import _read
from shapca.config import apply_overrides, read_yaml
from shapca.data.prepared import PreparedData
from shapca.errors import InputError
from shapca.model.device import choose_device
from shapca.model.encoders.text import text_model_config
from tests.encoder_families import save_text_encoder
from tests.factories import tiny_config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("when: 2024-13-45\n", r"odd.yaml: not valid YAML \(month must be in 1..12"),
        ("? [a, b]\n: 1\n", "odd.yaml:1: expected a name as key, found a list or mapping"),
        ("a: &a [*a]\n", "odd.yaml:1: aliases"),
        ('a: "x\\ud83d"\n', "odd.yaml:1: a text has half a character in it"),
        ('"\\ud83d": 1\n', "odd.yaml:1: a text has half a character in it"),
    ],
)
def test_yaml_that_is_no_plain_tree(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "odd.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_yaml(tmp_path / "odd.yaml")


@pytest.mark.parametrize("value", ["2024-13-45", "{[a]: 1}", "[1"])
def test_an_override_that_is_no_value(value: str) -> None:
    with pytest.raises(InputError, match=r"--set data.contexts=.*: the value: "):
        apply_overrides({}, [f"data.contexts={value}"])


def test_an_experiment_that_is_no_mapping(tmp_path: Path) -> None:
    (tmp_path / "odd.yaml").write_text("experiment: foo\n", encoding="utf-8")
    with pytest.raises(InputError, match="experiment: expected a mapping, found str"):
        _read(tmp_path / "odd.yaml", [])


@pytest.mark.parametrize("name", ["mps", "meta", "cuda:x", "tpu"])
def test_devices_that_are_not_promised(name: str) -> None:
    with pytest.raises(InputError, match="is no device here, expected auto, cpu or cuda:0"):
        choose_device(name)


@pytest.mark.parametrize("content", ["{", "[]", '{"model_type": "bert", "hidden_size": "x"}'])
def test_a_damaged_configuration_of_an_encoder(content: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(
        InputError, match=r"text.encoder: .*config.json(: hidden_size: expected| is damaged)"
    ):
        text_model_config(str(tmp_path))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("parts", [], "damaged"),
        ("parts", {}, "no hash of train.jsonl, valid.jsonl, test.jsonl"),
        ("labels", {"task": "foo", "entity_types": [], "relation_types": []}, "damaged"),
    ],
)
def test_a_damaged_manifest(
    key: str, value: object, message: str, tiny_mner: PreparedData, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(tiny_mner.folder, folder)
    record = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**record, key: value}), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        PreparedData.load(folder)


@pytest.mark.parametrize(
    ("family", "removed", "length", "said"),
    [
        ("roberta", (), 128, "text.max_length: {} reads at most 96 sub-words, got 128"),
        ("roberta", ("vocab.json", "merges.txt"), 64, "text.encoder: {}: expected the files of"),
        ("bertweet", ("bpe.codes", "vocab.txt"), 64, "text.encoder: {}: expected the files of"),
    ],
)
def test_an_encoder_that_cannot_be_used_is_one_message(
    family: str,
    removed: tuple[str, ...],
    length: int,
    said: str,
    tiny_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = save_text_encoder(family, tmp_path / family)
    for name in removed:
        (folder / name).unlink()
    text = {"text.encoder": str(folder), "text.max_length": length, "image.encoder": "none"}
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(tiny_config(**text).model_dump(mode="json")))
    monkeypatch.setattr("sys.argv", ["shapca", "train", str(config), "--data-root", str(tiny_root),
                                     "--out", str(tmp_path / "run")])  # fmt: skip
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert said.format(folder) in " ".join(capsys.readouterr().err.split())

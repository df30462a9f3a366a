"""What is no encoder is refused by one message, before anything but its config is fetched."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from pydantic import ValidationError
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from shapca.build import build_model, build_on_meta
from shapca.config import ExperimentConfig, Task
from shapca.data.batches.dataset import EncodedSplit
from shapca.data.schema import Example, Labels
from shapca.errors import InputError
from shapca.model.encoders import (
    load_image_encoder,
    load_text_model,
    load_tokenizer,
    weights_fingerprints,
)
from tests.encoder_families import TEXT_FAMILIES, save_image_encoder, save_text_encoder
from tests.factories import tiny_config

LABELS = Labels("mner", ("PER",))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """A hub of configs by name; every other file of it is out of bounds."""
    configs: dict[str, Any] = {}

    def fetch_file(name: str, file: str) -> str:
        assert file == "config.json"
        place = tmp_path / name.replace("/", "--")
        place.mkdir(exist_ok=True)
        (place / file).write_text(json.dumps(configs[name]))
        return str(place / file)

    def fetch_all(name: str, *, local_files_only: bool = False, **_: Any) -> str:
        if local_files_only:
            raise OSError("nothing is cached")
        raise AssertionError(f"{name} was downloaded")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch_file)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch_all)
    return configs


def of(kind: str, **changes: Any) -> dict[str, Any]:
    return CONFIG_MAPPING[kind]().to_dict() | changes


NO_TEXT = {
    "decoder": (of("gpt2"), "found model_type 'gpt2'"),
    "llama": (of("llama"), "found model_type 'llama'"),
    "seq2seq": (of("bart"), "found the bart of a decoder"),
    "t5": (of("t5"), "found model_type 't5'"),
    "bert-decoder": (of("bert", is_decoder=True), "found the bert of a decoder"),
    "vision": (of("vit"), "found model_type 'vit'"),
    "speech": (of("wav2vec2"), "found model_type 'wav2vec2'"),
    "several": (of("modernvbert"), "found model_type 'modernvbert'"),
    "no-ids": (of("perceiver"), "found model_type 'perceiver'"),
    "unknown": ({"model_type": "strange"}, "found model_type 'strange'"),
    "no-type": ({"hidden_size": 8}, "found model_type 'None'"),
    "own-code": (of("bert", auto_map={"AutoModel": "x.Y"}), "code of its own (auto_map in its"),
    "quantised": (of("roberta", quantization_config={"bits": 4}), "found quantised ones"),
    "too-large": (of("roberta", hidden_size=10**6), "config.json: hidden_size: expected a whole"),
    "too-deep": (of("distilbert", n_layers=10**6), "config.json: n_layers: expected a whole"),
    "long": (of("deberta-v2", pos_att_type=["c2p"] * 999), "pos_att_type: expected at most 256"),
}


@pytest.mark.parametrize("case", NO_TEXT)
def test_no_text_encoder(hub: dict[str, Any], case: str) -> None:
    hub["some/model"], said = NO_TEXT[case]
    message = rf"^text\.encoder: some/model: .*{re.escape(said)}"
    with pytest.raises(InputError, match=message):
        load_text_model("some/model")
    with pytest.raises(InputError, match=message):
        load_tokenizer("some/model")
    config = tiny_config(**{"text.encoder": "some/model"})
    with pytest.raises(InputError, match=message):
        build_on_meta(config, LABELS)
    if hub["some/model"].get("model_type") != "bert":  # known by its commit, as ever
        with pytest.raises(InputError, match=message):
            weights_fingerprints(config)


NO_IMAGE = {
    "text": (of("bert"), "found model_type 'bert'"),
    "several": (of("llava"), "found model_type 'llava'"),
    "detector": (of("timm_wrapper"), "found model_type 'timm_wrapper'"),
    "own-code": (of("vit", auto_map={"AutoModel": "x.Y"}), "code of its own (auto_map in its"),
    "quantised": (of("clip", quantization_config={"bits": 4}), "found quantised ones"),
    "too-large": (of("vit", image_size=10**6), "config.json: image_size: expected a whole"),
    "too-deep": (of("swin", depths=[10**6]), "config.json: depths: expected a whole number"),
}


@pytest.mark.parametrize("case", NO_IMAGE)
def test_no_image_encoder(hub: dict[str, Any], case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hub["some/model"], said = NO_IMAGE[case]
    message = rf"^image\.encoder: some/model: .*{re.escape(said)}"
    with pytest.raises(InputError, match=message):
        load_image_encoder("some/model", "pretrained", size=64)
    tree = tiny_config().model_dump()
    tree["image"] = {"encoder": "some/model"}
    with pytest.raises(InputError, match=message):
        weights_fingerprints(ExperimentConfig.model_validate(tree))


@pytest.mark.parametrize("family", TEXT_FAMILIES)
def test_an_encoder_without_its_tokenizer(family: str, tmp_path: Path) -> None:
    folder = save_text_encoder(family, tmp_path / family)
    for file in folder.iterdir():
        if file.name not in ("config.json", "model.safetensors", "tokenizer_config.json"):
            file.unlink()
    with pytest.raises(InputError, match=r"text\.encoder: .*expected .*vocab\.txt.* beside"):
        load_tokenizer(str(folder))


def test_a_tokenizer_of_no_use(tmp_path: Path) -> None:
    folder = save_text_encoder("roberta", tmp_path / "roberta")
    merges, vocabulary = folder / "merges.txt", folder / "vocab.json"
    kept = merges.read_bytes(), vocabulary.read_bytes()

    def refused() -> str:
        with pytest.raises(InputError) as caught:
            load_tokenizer(str(folder))
        message = str(caught.value)
        assert message.startswith(f"text.encoder: {folder}: its tokenizer")
        assert "\n" not in message
        return message

    merges.unlink()
    assert "is damaged" in refused()
    merges.write_bytes(kept[0])
    vocabulary.write_text("[1, 2]")
    assert "is damaged" in refused()
    vocabulary.unlink()
    assert "is damaged" in refused()
    merges.rename(folder / "added_tokens.json.bak")
    (folder / "bpe.codes").write_text("a b 1\n")  # another tokenizer's
    assert "knows no words" in refused()
    (folder / "bpe.codes").unlink()
    vocabulary.write_bytes(kept[1])
    merges.write_bytes(kept[0])
    settings = folder / "tokenizer_config.json"
    settings.write_text(json.dumps({"auto_map": {"AutoTokenizer": ["x.Y", None]}}))
    assert "code of its own (auto_map in tokenizer_config.json)" in refused()
    settings.write_text(json.dumps({"tokenizer_class": "GPT2Tokenizer"}))
    assert "has no cls_token" in refused()
    settings.unlink()
    tree = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(tree | {"vocab_size": 300}))
    assert "has 340 sub-words, yet the model's vocab_size is 300" in refused()


def test_packages_that_a_tokenizer_needs_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_text_encoder("deberta-v3", tmp_path / "deberta")
    (folder / "tokenizer.json").rename(folder / "spm.model")
    monkeypatch.setattr("shapca.model.encoders.tokenizers.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"spm\.model, .*pip install 'shap-ca\[sentencepiece\]'"):
        load_tokenizer(str(folder))
    folder = save_text_encoder("bertweet", tmp_path / "bertweet")
    load_tokenizer(str(folder))
    (folder / "tokenizer_config.json").write_text('{"normalization": true}')
    monkeypatch.setitem(__import__("sys").modules, "emoji", None)
    with pytest.raises(InputError, match=r"emoji: pip install 'shap-ca\[bertweet\]'"):
        load_tokenizer(str(folder))


@pytest.mark.parametrize("family", ["roberta", "bertweet", "mpnet", "bert"])
def test_fewer_positions_than_the_longest_input(family: str, tmp_path: Path) -> None:
    folder = str(save_text_encoder(family, tmp_path / family))
    build_on_meta(tiny_config(**{"text.encoder": folder, "text.max_length": 96}), LABELS)
    longer = tiny_config(**{"text.encoder": folder, "text.max_length": 97})
    with pytest.raises(InputError, match=r"text\.max_length: .* at most 96 sub-words, got 97"):
        build_on_meta(longer, LABELS)


@pytest.mark.parametrize("task", ["mner", "mjere"])
def test_an_encoder_of_many_positions_reads_long_posts(task: Task, tmp_path: Path) -> None:
    folder = save_text_encoder("modernbert", tmp_path / "m", max_position_embeddings=8192)
    labels = Labels(task, ("PER",), ("knows",) if task == "mjere" else ())
    changes = {"text.encoder": str(folder), "text.max_length": 900, "image.encoder": "none"}
    model = build_model(tiny_config(task, **changes), labels).eval()
    post = Example("p", ("a",) * 600, ("DET",) * 600, None)
    split = EncodedSplit.build(
        [post], labels, load_tokenizer(str(folder)), contexts=None, images=None, max_length=900
    )
    assert split.report.num_cut_texts == 0
    batch = split.collate([0])
    assert batch.word_mask.sum() == 600
    with torch.inference_mode():
        model.predict(batch)
    assert model.state_dict()["channels.position.weight"].shape[0] == 900
    with pytest.raises(ValidationError, match="less than or equal to 8192"):
        tiny_config(**{"text.max_length": 8193})


def test_positions_of_words_are_as_many_as_before_for_short_posts() -> None:
    model = build_on_meta(tiny_config(**{"text.max_length": 64}), LABELS)
    assert model.state_dict()["channels.position.weight"].shape[0] == 512
    with pytest.raises(InputError, match="tiny reads at most 512 sub-words, got 513"):
        build_on_meta(tiny_config(**{"text.max_length": 513}), LABELS)


def test_pictures_that_an_encoder_cannot_read(tmp_path: Path) -> None:
    folder = str(save_image_encoder("siglip", tmp_path / "siglip"))
    with pytest.raises(InputError, match="pictures of 8 pixels cannot be read"):
        load_image_encoder(folder, "pretrained", size=8)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ({"encoder": "resnet51"}, "or a vision model of transformers .* did you mean resnet50"),
        ({"encoder": "a/b", "weights": "x.pth"}, "weights must be pretrained or random where"),
    ],
)
def test_names_of_no_image_encoder(image: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ExperimentConfig.model_validate({"data": {"dataset": "any"}, "image": image})

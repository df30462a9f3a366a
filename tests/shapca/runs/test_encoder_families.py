"""Runs of every family of encoders: what they keep, what knows them by content, how they resume."""

from __future__ import annotations

import json
import shutil
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
import torch

from shapca.build import build_on_meta
from shapca.config import ExperimentConfig, RuntimeConfig
from shapca.data.prepared import PreparedData
from shapca.model.encoders import TextEncoder, load_image_encoder, load_text_model, load_tokenizer
from shapca.model.encoders import weights_fingerprints as fingerprints
from shapca.model.inputs import encode_split
from shapca.model.parameters import model_size
from shapca.model.picture_features import FEATURES, FOLDER
from shapca.prediction import Extractor, Post
from shapca.runs.encoder_files import TEXT, save_encoder_files, with_encoder_files
from shapca.runs.tensors import unpack
from shapca.runs.trained import TrainedModel
from shapca.storage import FolderStore
from shapca.training import fit
from tests.encoder_families import (
    IMAGE_FAMILIES,
    TEXT_FAMILIES,
    save_image_encoder,
    save_text_encoder,
)
from tests.encoder_families import POSTS as SENTENCES
from tests.factories import tiny_config
from tests.shapca.training.test_resume import outcome
from tests.stores import DyingStore, Killed, MemoryStore

CPU = torch.device("cpu")
RUNTIME = RuntimeConfig(device="cpu", num_threads=1)
PAIRS = list(zip_longest(TEXT_FAMILIES, IMAGE_FAMILIES, fillvalue="vit"))
# Runs take a second or two each: byte pairs, a slow tokenizer, unigrams and each form of features.
QUICK = ("bert", "roberta", "bertweet", "deberta-v3")
TRAINED = [pytest.param(pair, marks=() if pair[0] in QUICK else pytest.mark.slow) for pair in PAIRS]
POSTS = [Post("Anna in Paris \ufe0f", context="a photo"), Post("Bob met naïve Kevin Durant !")]


@pytest.fixture
def families(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, Path]:
    """Folders of a text and an image encoder."""
    text, image = request.param
    return save_text_encoder(text, tmp_path / "text"), save_image_encoder(image, tmp_path / "image")


def config(families: tuple[Path, Path], **changes: Any) -> ExperimentConfig:
    text, image = map(str, families)
    settings = {
        "text.encoder": text, "image.encoder": image, "image.weights": "pretrained",
        "image.size": 32, "optimisation.epochs": 1, "alignment.features": "separate",
    }  # fmt: skip
    return tiny_config(**settings | changes)


@pytest.mark.parametrize("families", TRAINED, indirect=True)
def test_a_run_needs_its_encoders_folders_no_more(
    families: tuple[Path, Path], tiny_mner: PreparedData, tmp_path: Path
) -> None:
    experiment, run = config(families, **{"image.freeze": True}), tmp_path / "run"
    result = fit(experiment, tiny_mner, seed=1, runtime=RUNTIME, store=FolderStore(run), test=True)
    assert result.status == "finished"
    tokenizer = load_tokenizer(str(families[0]))
    before = Extractor.load(run, runtime=RUNTIME).extract_many(POSTS)
    for folder in families:
        shutil.rmtree(folder)
    assert Extractor.load(run, runtime=RUNTIME).extract_many(POSTS) == before
    trained = TrainedModel.load(run, CPU)
    stored, loaded = unpack(FolderStore(run), "best/0001.safetensors"), trained.model.state_dict()
    assert stored.keys() == loaded.keys()
    assert all(torch.equal(stored[name], loaded[name]) for name in stored)
    words = [word for post in POSTS for word in post.text.split()]
    assert type(trained.tokenizer) is type(tokenizer)
    assert [trained.tokenizer(word).input_ids for word in words] == [
        tokenizer(word).input_ids for word in words
    ]
    kept = FolderStore(run).list("encoder/")
    assert not any("safetensors" in name or "bin" in name for name in kept)


@pytest.mark.parametrize("families", PAIRS, indirect=True)
def test_an_encoder_is_known_by_its_content(families: tuple[Path, Path], tmp_path: Path) -> None:
    first, text, image = fingerprints(config(families)), *families
    shutil.copytree(text, tmp_path / "text-2")
    shutil.copytree(image, tmp_path / "image-2")
    moved = (tmp_path / "text-2", tmp_path / "image-2")
    (moved[0] / "README.md").write_text("words about it")
    assert fingerprints(config(moved)) == first
    assert config(moved).canonical() == config(families).canonical()
    assert str(tmp_path) not in json.dumps(config(families).canonical())
    for part, folder in zip(("text", "image"), moved, strict=True):
        for file in sorted(folder.iterdir()):
            content = file.read_bytes()
            file.write_bytes(content + (b"\n" if file.suffix == ".json" else b"x 1\n"))
            changed = fingerprints(config(moved))[part] != first[part]
            assert changed == (file.name != "README.md"), file.name
            file.write_bytes(content)
    random = {"image.weights": "random"}
    assert fingerprints(config(moved, **random))["image"] != first["image"]
    (moved[1] / "model.safetensors").unlink()
    unread = fingerprints(config(families, **random))
    assert fingerprints(config(moved, **random)) == unread


@pytest.mark.parametrize("families", PAIRS, indirect=True)
def test_parameters_are_counted_without_weights(
    families: tuple[Path, Path], tiny_mner: PreparedData
) -> None:
    size = model_size(build_on_meta(config(families), tiny_mner.labels))
    lines = {line.name: line.parameters for line in size.modules}
    read = load_text_model(str(families[0])).parameters()
    num_text = lines["text"] + lines.get("text.bert.pooler", 0)
    assert num_text == sum(weight.numel() for weight in read)
    image = load_image_encoder(str(families[1]), "pretrained", size=32)
    assert lines["image"] == sum(weight.numel() for weight in image.backbone.parameters())


@pytest.mark.slow
@pytest.mark.parametrize(
    "families",
    [("roberta", "siglip"), ("deberta-v3", "dinov2"), ("bertweet", "swin")],
    indirect=True,
)
def test_a_run_resumes_to_the_same_end(
    families: tuple[Path, Path], tiny_mner: PreparedData
) -> None:
    experiment = config(families, **{"optimisation.epochs": 2, "image.augment": True})
    undisturbed = DyingStore(MemoryStore())
    fit(experiment, tiny_mner, seed=5, runtime=RUNTIME, store=undisturbed, test=True)
    store = MemoryStore()
    with pytest.raises(Killed):
        dying = DyingStore(store, round(0.6 * undisturbed.num_changes))
        fit(experiment, tiny_mner, seed=5, runtime=RUNTIME, store=dying, test=True)
    fit(experiment, tiny_mner, seed=5, runtime=RUNTIME, store=store, test=True)
    assert outcome(store) == outcome(undisturbed)


@pytest.mark.parametrize("family", IMAGE_FAMILIES)
def test_pictures_of_a_frozen_encoder_are_encoded_once(
    family: str, tiny_mner: PreparedData, tmp_path: Path
) -> None:
    shutil.copytree(tiny_mner.folder, tmp_path / "data" / "tiny-mner")
    data = PreparedData.load(tmp_path / "data" / "tiny-mner")
    folder = str(save_image_encoder(family, tmp_path / family))
    encoder = load_image_encoder(folder, "pretrained", size=32, freeze=True)
    experiment = tiny_config(
        **{"image.encoder": folder, "image.weights": "pretrained", "image.size": 32}
    )
    pixels = encode_split(experiment, data, "valid").collate(range(12))
    kept = encode_split(experiment, data, "valid", encoder).collate(range(12))
    assert len(list((tmp_path / "data" / FOLDER).glob(f"*/{FEATURES}"))) == 1
    assert kept.images is not None
    assert pixels.images is not None
    assert kept.images.is_floating_point()
    found = encoder(kept.images, kept.image_mask)
    for row in range(12):
        wanted = encoder(pixels.images[row : row + 1], pixels.image_mask[row : row + 1])
        assert torch.equal(found.regions[row], wanted.regions[0])
        assert torch.equal(found.pooled[row], wanted.pooled[0])


def test_a_run_needs_no_sentencepiece_afterwards(tmp_path: Path) -> None:
    """A tokenizer that is a SentencePiece model alone is kept in a form that any machine reads."""
    sentencepiece = pytest.importorskip("sentencepiece", reason="needs the extra sentencepiece")
    folder = save_text_encoder("deberta-v3", tmp_path / "text", vocab_size=100)
    for file in folder.glob("tokenizer*"):
        file.unlink()
    (tmp_path / "posts.txt").write_text("\n".join(SENTENCES) + "\n")
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "posts.txt"), model_prefix=str(folder / "spm"), vocab_size=85,
        hard_vocab_limit=False, pad_id=0, bos_id=1, eos_id=2, unk_id=3, pad_piece="[PAD]",
        bos_piece="[CLS]", eos_piece="[SEP]", unk_piece="[UNK]", minloglevel=2,
        user_defined_symbols=["[MASK]"],
    )  # fmt: skip
    experiment = tiny_config(**{"text.encoder": str(folder), "image.encoder": "none"})
    encoder = TextEncoder(load_text_model(str(folder)))
    tokenizer = load_tokenizer(str(folder))
    truth = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spm.model"))
    for post in SENTENCES:
        assert tokenizer(post, add_special_tokens=False).input_ids == truth.encode(post)
    store = MemoryStore()
    save_encoder_files(store, experiment, encoder, None)
    kept = store.list(TEXT)
    assert TEXT + "tokenizer.json" in kept
    assert not any(name.endswith(".model") for name in kept)
    (tmp_path / "kept").mkdir()
    there = with_encoder_files(store, experiment, tmp_path / "kept")
    restored = load_tokenizer(there.text.encoder)
    for post in (*SENTENCES, "naïve \ufe0f  \u3000 ﬁne"):
        assert restored(post, "x").input_ids == tokenizer(post, "x").input_ids


def test_a_picture_is_as_large_as_its_encoder_was_trained_with(
    tiny_mner: PreparedData, tmp_path: Path
) -> None:
    folder = save_image_encoder("vit", tmp_path / "vit")
    file = folder / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"size": 34}))
    tree = tiny_config().model_dump()
    tree["image"] = {"encoder": str(folder)}
    experiment = ExperimentConfig.model_validate(tree)
    assert experiment.image.size is None
    images = encode_split(experiment, tiny_mner, "valid").collate([0, 1]).images
    assert images is not None
    assert images.shape == (2, 3, 34, 34)
    run = tmp_path / "run"
    fit(experiment, tiny_mner, seed=1, runtime=RUNTIME, store=FolderStore(run))
    shutil.rmtree(folder)
    assert TrainedModel.load(run, CPU).model.image is not None
    assert len(Extractor.load(run, runtime=RUNTIME).extract_many(POSTS)) == 2

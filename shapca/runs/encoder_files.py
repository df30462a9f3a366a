"""The encoders' own files, kept with a run so that loading it asks no hub and no other folder."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from shapca.config import ExperimentConfig
from shapca.errors import InputError
from shapca.model.encoders import ImageEncoder, TextEncoder, load_tokenizer
from shapca.model.encoders.backbones import VisionModel
from shapca.model.encoders.image import CLIPVision
from shapca.model.encoders.processing import IMAGE_FILES
from shapca.model.encoders.weights import MODEL_FILES, PROCESSOR_FILES, TOKENIZER_FILES, locate
from shapca.storage import ObjectStore, place_name

TEXT, IMAGE = "encoder/text/", "encoder/image/"


def save_encoder_files(
    store: ObjectStore, config: ExperimentConfig, text: TextEncoder, image: ImageEncoder | None
) -> None:
    """Keep what describes a run's encoders: tokenizer and architectures, no weights.

    Args:
        store: The run's store.
        config: Which encoders they are; what the package itself brings is not kept.
        text: The text encoder.
        image: The image encoder, if any.
    """
    if config.text.encoder != "tiny":
        tokenizer = load_tokenizer(config.text.encoder)
        folder = locate(config.text.encoder, "text.encoder")
        if tokenizer.is_fast and not (folder / "tokenizer.json").is_file():
            # In the form that needs neither SentencePiece nor another package to be read.
            _save(store, TEXT, tokenizer, text.bert.config)
        else:  # slow ones do not read all that they save themselves
            _save(store, TEXT, text.bert.config)
            _copy(store, TEXT, folder, TOKENIZER_FILES)
    if image is not None and isinstance(image.backbone, CLIPVision):
        _save(store, IMAGE, image.backbone.clip.config)
    elif image is not None and isinstance(image.backbone, VisionModel):
        _save(store, IMAGE, image.backbone.model.config)
    if config.image.is_from_transformers:
        folder = locate(config.image.encoder, "image.encoder", IMAGE_FILES)
        _copy(store, IMAGE, folder, PROCESSOR_FILES)


def with_encoder_files(
    store: ObjectStore, config: ExperimentConfig, folder: Path
) -> ExperimentConfig:
    """Write a run's encoder files into a folder.

    Returns:
        The run's configuration with the encoders' names replaced by that folder's paths. Models
        built of it with `pretrained=False` have the run's architecture.

    Raises:
        InputError: the run's files are incomplete.
    """
    text, image = config.text, config.image
    if text.encoder != "tiny":
        _restore(store, TEXT, folder)
        text = text.model_copy(update={"encoder": str(folder / TEXT)})
    if image.is_from_transformers or (
        image.encoder == "clip-vit-b-32" and image.weights != "random"
    ):
        _restore(store, IMAGE, folder)
        key = "encoder" if image.is_from_transformers else "weights"
        image = image.model_copy(update={key: str(folder / IMAGE)})
    return config.model_copy(update={"text": text, "image": image})


def _save(store: ObjectStore, prefix: str, *parts: Any) -> None:
    with TemporaryDirectory() as name:
        for part in parts:
            part.save_pretrained(name)
        for path in sorted(Path(name).iterdir()):
            store.put(prefix + path.name, path.read_bytes())


def _copy(store: ObjectStore, prefix: str, folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        if (folder / name).is_file():
            store.put(prefix + name, (folder / name).read_bytes())


def _restore(store: ObjectStore, prefix: str, folder: Path) -> None:
    names = store.list(prefix)
    if prefix + "config.json" not in names:
        raise InputError(f"{place_name(store)}: {prefix}config.json is missing from the run")
    (folder / prefix).mkdir(parents=True)
    for name in names:
        file = PurePosixPath(name)
        if file.parent != PurePosixPath(prefix) or not any(file.match(p) for p in MODEL_FILES):
            continue  # not of those that are read, whoever put it there
        content = store.get(name)
        assert content is not None
        (folder / prefix / file.name).write_bytes(content)

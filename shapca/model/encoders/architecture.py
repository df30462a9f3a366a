"""The architecture that a model's `config.json` describes, within bounds, and what is an encoder.

All of it is known before anything but `config.json` is fetched. Only what describes an architecture
is read: a `config.json` may also choose attention kernels, which transformers would fetch from a
hub, and none of that is looked at; code of its own and quantised weights are refused.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from transformers import MODEL_MAPPING, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
    MODEL_FOR_IMAGE_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_MAPPING_NAMES,
)

from shapca.errors import InputError
from shapca.model.encoders.weights import read_config

# Whole numbers of an architecture, each with the largest that any published model comes near to.
_LARGEST = {
    "vocab_size": 1_000_000, "hidden_size": 16_384, "intermediate_size": 65_536,
    "num_hidden_layers": 256, "num_attention_heads": 256, "max_position_embeddings": 131_072,
    "type_vocab_size": 64, "projection_dim": 16_384, "num_channels": 16, "image_size": 4096,
    "patch_size": 512,
}  # fmt: skip
_LARGEST_NUMBER = 1_000_000
# Of other names: what is built that many times over.
_REPEATED, _MOST_REPEATED = ("layer", "depth", "block", "stage", "group", "head"), 256
_LONGEST = 256
# Parts of names that choose how and from where, not what; and what the run's own keys decide.
_UNREAD = (
    "implementation", "kernel", "quant", "compile", "backbone", "path", "auto", "code", "file",
    "dtype", "output_", "gradient_checkpointing",
)  # fmt: skip
_TEXT_MODELS = frozenset(MODEL_FOR_MASKED_LM_MAPPING_NAMES)
_IMAGE_MODELS = frozenset(
    name
    for name in (
        *MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
        *MODEL_FOR_IMAGE_MAPPING_NAMES,
        *(name for name in MODEL_MAPPING_NAMES if name.endswith("_vision_model")),
    )
    if not name.startswith("timm")  # a library of its own
)
_A_TEXT_ENCODER = (
    "a text encoder of transformers, which was trained to fill in masked words (bert, roberta, "
    "xlm-roberta, deberta-v2, electra, distilbert, modernbert, mpnet and the like)"
)
_AN_IMAGE_ENCODER = (
    "an image encoder of transformers (clip, siglip, dinov2, vit, swin, convnext and the like)"
)


@dataclass(frozen=True)
class Architecture:
    """A model without its weights.

    Attributes:
        model: Its class.
        config: Its sizes.
        place: The config key and what it says, for messages.
    """

    model: type[PreTrainedModel]
    config: Any
    place: str

    def build(self) -> PreTrainedModel:
        """The model with random weights, without the pooler that only some checkpoints train.

        Raises:
            InputError: its sizes do not fit together.
        """
        try:
            return self.model(self.config, **self.options())
        except Exception as error:  # each model has errors of its own for what does not fit
            first = str(error).strip().partition("\n")[0] or type(error).__name__
            raise InputError(f"{self.place}: no model that can be built ({first})") from error

    def options(self) -> dict[str, bool]:
        """What leaves the pooler out of any model but a BERT, whose pooler old runs hold."""
        takes = "add_pooling_layer" in inspect.signature(self.model.__init__).parameters
        return {"add_pooling_layer": False} if takes and self.config.model_type != "bert" else {}


def text_architecture(name: str, key: str = "text.encoder") -> Architecture:
    """The architecture of a text encoder of transformers.

    Args:
        name: Hub name or folder.
        key: The config key that it stands under, for messages.

    Raises:
        InputError: no such model, not a text encoder, a damaged file, or a size beyond all bounds.
    """
    tree = read_config(name, key)
    return _architecture(tree, _TEXT_MODELS, "input_ids", _A_TEXT_ENCODER, name, key)


def image_architecture(
    name: str, key: str, *, only: Collection[str] = _IMAGE_MODELS
) -> Architecture:
    """The architecture of an image encoder of transformers, or of such a part of a larger model.

    Args:
        name: Hub name or folder.
        key: The config key that it stands under, for messages.
        only: The `model_type`s that are meant.

    Raises:
        InputError: no such model, not an image encoder, a damaged file, or a size beyond all
            bounds.
    """
    tree = read_config(name, key)
    expected = _AN_IMAGE_ENCODER if only is _IMAGE_MODELS else " or ".join(only)
    _refuse_other_code(tree, expected, name, key)
    whole, part = tree.get("model_type"), tree.get("vision_config")
    if isinstance(part, Mapping) and whole in CONFIG_MAPPING and whole in only:
        of_part = CONFIG_MAPPING[whole].sub_configs.get("vision_config")
        own = str(getattr(of_part, "model_type", None))
        tree = {**part, "model_type": own}
        only = (own,)
    return _architecture(tree, only, "pixel_values", expected, name, key)


def _architecture(
    tree: Mapping[str, Any],
    only: Collection[str],
    reads: str,
    expected: str,
    name: str,
    key: str,
) -> Architecture:
    _refuse_other_code(tree, expected, name, key)
    found = tree.get("model_type")
    wanted = f"{key}: {name}: expected {expected}"
    if not isinstance(found, str) or found not in only or found not in CONFIG_MAPPING:
        raise InputError(f"{wanted}, found model_type {str(found)[:40]!r} in its config.json")
    kind = CONFIG_MAPPING[found]
    classes = MODEL_MAPPING.get(kind, None)
    model = classes[0] if isinstance(classes, list | tuple) else classes
    if model is None or model.main_input_name != reads or kind.sub_configs:
        raise InputError(f"{wanted}, found model_type {found!r} in its config.json")
    config = _read(kind, tree, name, key)
    if any(getattr(config, flag, False) for flag in ("is_encoder_decoder", "is_decoder")):
        raise InputError(f"{wanted}, found the {found} of a decoder")
    if reads == "input_ids" and not isinstance(getattr(config, "hidden_size", None), int):
        raise InputError(f"{wanted}, found a {found} without hidden_size")
    return Architecture(model, config, f"{key}: {name}")


def _refuse_other_code(tree: Mapping[str, Any], expected: str, name: str, key: str) -> None:
    if tree.get("auto_map"):
        raise InputError(
            f"{key}: {name}: expected {expected}, found one with code of its own (auto_map in its "
            "config.json), which is never run"
        )
    if tree.get("quantization_config"):
        raise InputError(
            f"{key}: {name}: expected weights in float32 or half precision, found quantised ones "
            "(quantization_config in its config.json)"
        )


def _read(kind: type[PreTrainedConfig], tree: Mapping[str, Any], name: str, key: str) -> Any:
    """A config of a kind, made of what is read of a tree."""
    try:
        of_any_model = {field.name for field in fields(PreTrainedConfig)} - {"is_encoder_decoder"}
        own = {field.name for field in fields(kind)} - of_any_model
        canonical = {theirs: ours for ours, theirs in kind.attribute_map.items()}
        read = {}
        for entry, value in tree.items():
            if entry in of_any_model or entry == "model_type" or entry.startswith("_"):
                continue
            if any(part in entry for part in _UNREAD) and not (
                entry in own and isinstance(value, int | float | list)
            ):
                continue
            _check(entry, canonical.get(entry, entry), value, f"{key}: {name}: config.json")
            read[entry] = value
        return kind(**read)
    except InputError:
        raise
    except Exception as error:  # whatever a damaged file makes transformers raise
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(f"{key}: {name}: its config.json is damaged ({first})") from error


def _check(entry: str, meaning: str, value: Any, place: str) -> None:
    """Refuse a value beyond the bounds of its meaning."""
    largest = _LARGEST.get(meaning)
    if largest is None:
        repeated = any(part in entry for part in _REPEATED)
        smallest, largest = -_LARGEST_NUMBER, _MOST_REPEATED if repeated else _LARGEST_NUMBER
        refused = isinstance(value, int) and not smallest <= value <= largest
    else:
        smallest = 0 if meaning == "type_vocab_size" else 1
        several = isinstance(value, list)  # of each stage, or height and width
        refused = not several and not (type(value) is int and smallest <= value <= largest)
    if refused:
        raise InputError(
            f"{place}: {entry}: expected a whole number from {smallest:,} to {largest:,}, got "
            f"{str(value)[:40]}"
        )
    if isinstance(value, list | dict | str) and len(value) > _LONGEST:
        raise InputError(f"{place}: {entry}: expected at most {_LONGEST} entries")
    if isinstance(value, list):
        for part in value:
            _check(entry, meaning, part, place)
    elif isinstance(value, dict):
        for part_name, part in value.items():
            _check(f"{entry}.{part_name}", part_name, part, place)


def check_size(architecture: Architecture, folder: Path) -> None:
    """Refuse an architecture whose weights cannot be in a folder, before memory is taken for it.

    Raises:
        InputError: it needs more numbers than the files of weights have bytes.
    """
    with torch.device("meta"):
        num_weights = sum(weight.numel() for weight in architecture.build().parameters())
    patterns = ("*.safetensors", "pytorch_model*.bin")
    num_bytes = sum(file.stat().st_size for p in patterns for file in folder.glob(p))
    if num_weights > num_bytes:
        raise InputError(
            f"{architecture.place}: its config.json describes {num_weights:,} weights, but its "
            f"files of weights have {num_bytes:,} bytes"
        )

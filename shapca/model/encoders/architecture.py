"""The architecture that a model's folder names in its `config.json`, within bounds.

Only what describes the architecture is read. A `config.json` may also choose attention kernels and
quantisation, which transformers would fetch from a hub: none of that is looked at.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import BertConfig, CLIPVisionConfig, PreTrainedConfig, PreTrainedModel

from shapca.errors import InputError

# Whole numbers of an architecture, each with the largest that any published model comes near to.
_LARGEST = {
    "vocab_size": 1_000_000, "hidden_size": 16_384, "intermediate_size": 65_536,
    "num_hidden_layers": 256, "num_attention_heads": 256, "max_position_embeddings": 131_072,
    "type_vocab_size": 64, "projection_dim": 16_384, "num_channels": 16, "image_size": 4096,
    "patch_size": 512,
}  # fmt: skip
_REAL = (
    "hidden_dropout_prob", "attention_probs_dropout_prob", "attention_dropout", "layer_norm_eps",
    "initializer_range", "initializer_factor",
)  # fmt: skip
_OTHER = ("hidden_act", "pad_token_id")
# `model_type` of a folder to the part of its config that is meant.
_KINDS: dict[type[PreTrainedConfig], dict[str, str | None]] = {
    BertConfig: {"bert": None},
    CLIPVisionConfig: {"clip": "vision_config", "clip_vision_model": None},
}


def read_architecture(kind: type[PreTrainedConfig], folder: Path, name: str, key: str) -> Any:
    """The architecture of a model saved by transformers.

    Args:
        kind: `BertConfig` or `CLIPVisionConfig`.
        folder: Where it was saved.
        name: What the config says, for messages.
        key: The config key that it stands under, for messages.

    Raises:
        InputError: another kind of model, a damaged file, or a size beyond all bounds.
    """
    try:
        tree, _ = PreTrainedConfig.get_config_dict(folder, local_files_only=True)
        model_type = tree.get("model_type")
        if model_type not in _KINDS[kind]:
            expected = " or ".join(_KINDS[kind])
            what = "a BERT" if kind is BertConfig else expected
            raise InputError(f"{key}: {name}: expected {what}, found model_type {model_type!r}")
        part = _KINDS[kind][model_type]
        tree = tree if part is None else dict(tree[part])
        for size, largest in _LARGEST.items():
            value = tree.get(size, 1)
            if type(value) is not int or not 1 <= value <= largest:
                raise InputError(
                    f"{key}: {name}: config.json: {size}: expected a whole number from 1 to "
                    f"{largest:,}, got {str(value)[:40]}"
                )
        names = (*_LARGEST, *_REAL, *_OTHER)
        return kind(**{entry: tree[entry] for entry in names if entry in tree})
    except InputError:
        raise
    except Exception as error:  # whatever a damaged file makes transformers raise
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(f"{key}: {name}: its config.json is damaged ({first})") from error


def check_size(
    model: type[PreTrainedModel], config: Any, folder: Path, name: str, key: str
) -> None:
    """Refuse an architecture whose weights cannot be in a folder, before memory is taken for it.

    Raises:
        InputError: it needs more numbers than the files of weights have bytes.
    """
    try:
        with torch.device("meta"):
            num_weights = sum(weight.numel() for weight in model(config).parameters())
    except (KeyError, ValueError, TypeError, RuntimeError, StrictDataclassError) as error:
        raise InputError(f"{key}: {name}: no model that can be built ({error})") from error
    patterns = ("*.safetensors", "pytorch_model*.bin")
    num_bytes = sum(file.stat().st_size for p in patterns for file in folder.glob(p))
    if num_weights > num_bytes:
        raise InputError(
            f"{key}: {name}: its config.json describes {num_weights:,} weights, but its files of "
            f"weights have {num_bytes:,} bytes"
        )

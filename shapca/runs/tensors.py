"""Weights and an optimizer's moments as bytes and back, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import safetensors.torch
import torch
from torch import Tensor, nn

from shapca.errors import InputError
from shapca.storage import ObjectStore, place_name
from shapca.storage.records import check_form, parse_json


@dataclass(frozen=True)
class Tensors:
    """The large part of a checkpoint: weights by name, moments by parameter name and key."""

    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]


def pack(tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """Tensors, and texts beside them, as the bytes of a safetensors file."""
    return safetensors.torch.save(
        {name: value.detach().cpu().contiguous() for name, value in tensors.items()}, metadata
    )


def unpack(store: ObjectStore, name: str) -> dict[str, Tensor]:
    """Tensors of a safetensors object.

    Raises:
        InputError: the object is missing or damaged.
    """
    content = store.get(name)
    if content is None:
        raise InputError(f"{place_name(store)}: {name} is missing from the run")
    return unpacked(content, f"{place_name(store)}: {name}")


def unpacked(content: bytes, place: str) -> dict[str, Tensor]:
    """The tensors that `pack` packed.

    Raises:
        InputError: the content is damaged.
    """
    try:
        return safetensors.torch.load(content)
    except Exception as error:  # whatever damaged bytes make the reader raise
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(f"{place} is damaged ({first})") from error


def read_metadata(content: bytes, place: str) -> dict[str, str]:
    """The texts that `pack` put beside tensors.

    Raises:
        InputError: the content is damaged.
    """
    length = int.from_bytes(content[:8], "little")  # of the header, which is JSON
    if not 0 < length <= len(content) - 8:
        raise InputError(f"{place} is damaged: it ends before its header does")
    header = parse_json(content[8 : 8 + length], place)
    found: dict[str, str] = header.get("__metadata__", {}) if isinstance(header, dict) else {}
    check_form(found, dict[str, str], place)
    return found


def optimizer_tensors(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]
) -> dict[str, Tensor]:
    """An optimizer's state as flat tensors named `<parameter>|<key>`.

    Parameters that never had a gradient have no state and are left out.
    """
    return {
        f"{name}|{key}": value
        for name, parameter in parameters.items()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def load_optimizer_tensors(
    optimizer: torch.optim.Optimizer,
    parameters: Mapping[str, nn.Parameter],
    tensors: Mapping[str, Tensor],
) -> None:
    """Give an optimizer the state that `optimizer_tensors` took from one like it.

    Raises:
        InputError: a tensor is of no parameter, or of another shape.
    """
    for name, tensor in tensors.items():
        parameter_name, _, key = name.rpartition("|")
        parameter = parameters.get(parameter_name)
        if parameter is None or (tensor.dim() and tensor.shape != parameter.shape):
            raise InputError(
                f"the checkpoint is another model's: its optimizer has {name[:200]!r} of shape "
                f"{tuple(tensor.shape)}"
            )
        optimizer.state[parameter][key] = tensor.to(parameter.device, copy=True)

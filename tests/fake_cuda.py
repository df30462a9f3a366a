"""A GPU that is not there: models run on tensors without content that say they are on it.

A forward pass on such tensors shows which operations run, on which devices, and which would make
the host wait. torch's own backward pass needs a real device, so `backward` walks the graph itself.
"""

from __future__ import annotations

import contextlib
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.autograd.function import BackwardCFunction
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

DEVICE = torch.device("cuda:0")

# What reads a number off a device, or has a result whose size only the device knows.
WAITING = {
    "_local_scalar_dense", "nonzero", "nonzero_numpy", "argwhere", "masked_select", "equal",
    "is_nonzero", "_unique", "_unique2", "unique_dim", "unique_consecutive", "bincount",
    "repeat_interleave", "_assert_async",
}  # fmt: skip
NO_KERNELS = {"prim::device", "detach", "alias", "lift_fresh", "empty", "empty_like", "new_empty"}


class Recorder(TorchDispatchMode):
    """Counts operations on the device, and notes those that wait for it or mix devices.

    Attributes:
        kernels: how often each operation that is no view ran with a tensor of the device.
        waits: operations that make the host wait for the device.
        to_host: copies from the device.
        mixed: operations on tensors of both devices, numbers in 0-d tensors aside.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kernels: Counter[str] = Counter()
        self.waits: list[str] = []
        self.to_host: list[str] = []
        self.mixed: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        on_device = [tensor for tensor in given if tensor.device.type == "cuda"]
        name = func._schema.name.removeprefix("aten::")
        if on_device and (name in WAITING or self._by_booleans(name, args)):
            self.waits.append(f"{name} {_place()}")
        result = func(*args, **kwargs)
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        copies = name in ("_to_copy", "copy_", "to")
        if copies and {tensor.device.type for tensor in (*given, *made)} == {"cpu", "cuda"}:
            to_host = made[0].device.type == "cpu"
            if to_host:
                self.to_host.append(f"{name} {_place()}")
            elif not self._is_nonblocking(name, args, kwargs):
                self.waits.append(f"{name} to the device {_place()}")
        elif on_device and any(t.device.type == "cpu" and t.ndim for t in given):
            self.mixed.append(f"{name} {_place()}")
        is_kernel = not func.is_view and name not in NO_KERNELS
        if is_kernel and any(tensor.device.type == "cuda" for tensor in (*given, *made)):
            self.kernels[name] += 1
        return result

    @staticmethod
    def _by_booleans(name: str, args: tuple[Any, ...]) -> bool:
        """Whether an index is a mask, whose true places would be counted."""
        if name not in ("index", "index_put", "index_put_", "_index_put_impl_"):
            return False
        return any(isinstance(i, Tensor) and i.dtype == torch.bool for i in args[1])

    @staticmethod
    def _is_nonblocking(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        return bool(kwargs.get("non_blocking") or (name == "copy_" and len(args) > 2 and args[2]))


def _place() -> str:
    """Where in the project an operation was called."""
    for frame in reversed(traceback.extract_stack()):
        if "/shapca/" in frame.filename and "/tests/" not in frame.filename:
            return f"{frame.filename.rpartition('/shapca/')[2]}:{frame.lineno} {frame.line}"
    return ""


@contextlib.contextmanager
def fake_cuda() -> Iterator[FakeTensorMode]:
    """Tensors made inside have no content and may be on `cuda`; autocast works there, too."""
    with (
        FakeTensorMode() as mode,  # first: it makes do without a device where it sees none
        mock.patch("torch.cuda.is_available", return_value=True),
        mock.patch("torch.cuda.is_bf16_supported", return_value=True),
        mock.patch("torch.cuda.is_current_stream_capturing", return_value=False),
    ):
        yield mode


def backward(loss: Tensor) -> None:
    """Add the gradients of a scalar to the `grad` of the leaves, as `loss.backward()` would.

    Raises:
        AssertionError: a gradient is not on the device of what it belongs to.
    """
    assert loss.grad_fn is not None
    order: list[Any] = []
    seen = set()

    stack = [(loss.grad_fn, False)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack += [(following, False) for following, _ in node.next_functions if following]

    arrived: dict[Any, dict[int, Tensor]] = defaultdict(dict)
    arrived[loss.grad_fn][0] = torch.ones_like(loss)
    with torch.no_grad():
        for node in reversed(order):
            gradients = arrived.pop(node, None)
            if gradients is None:
                continue
            if isinstance(variable := getattr(node, "variable", None), Tensor):
                variable.grad = _sum(variable.grad, gradients[0])
                continue
            run = node.apply if isinstance(node, BackwardCFunction) else node
            found = run(*(gradients.get(place) for place in range(len(node._input_metadata))))
            found = found if isinstance(found, tuple) else (found,)
            # Arguments that are no tensors, the last ones, have no place in the graph.
            assert all(gradient is None for gradient in found[len(node.next_functions) :])
            for (following, place), gradient in zip(node.next_functions, found, strict=False):
                if following is not None and gradient is not None:
                    fitted = _fit(gradient, following._input_metadata[place])
                    arrived[following][place] = _sum(arrived[following].get(place), fitted)


def _sum(first: Tensor | None, second: Tensor) -> Tensor:
    return second if first is None else first + second


def _fit(gradient: Tensor, metadata: Any) -> Tensor:
    """A gradient in the shape and type of what it belongs to, as torch's engine brings it."""
    assert gradient.device == metadata.device, f"{gradient.device} for {metadata.device}"
    if gradient.shape != torch.Size(metadata.shape):
        gradient = gradient.sum_to_size(metadata.shape)
    return gradient.to(metadata.dtype)


def onto_device(model: nn.Module, mode: FakeTensorMode) -> None:
    """Move a model's parameters and buffers onto the device that is not there, in place."""
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                fake = mode.from_tensor(parameter).detach().to(DEVICE)
                module._parameters[name] = nn.Parameter(fake, parameter.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = mode.from_tensor(buffer).to(DEVICE)

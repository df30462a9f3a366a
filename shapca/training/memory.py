"""How much memory training takes at its peak, found by a step on tensors without content.

The step is the run's own: its model, its loss, the backward pass and AdamW, for the batch of the
first epoch that is padded longest. Every storage is counted while it lives. Only kernels are left
out: where the run will be on a CUDA device, attention keeps what fused attention keeps there.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch import Generator, Tensor
from torch._subclasses import FakeTensorMode
from torch.autograd.function import FunctionCtx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from shapca.build import build_model, build_on_meta
from shapca.config import ExperimentConfig
from shapca.data.batches.batch import Batch
from shapca.data.batches.loader import load_batches
from shapca.data.batches.sampler import epoch_batches
from shapca.data.prepared import PreparedData
from shapca.data.schema import Labels
from shapca.errors import InputError
from shapca.model.device import arithmetic
from shapca.model.inputs import encode_split
from shapca.model.network import ShapCA
from shapca.training.optimisation import Optimiser

CUDA_BLOCK = 512
"""CUDA's allocator rounds up to so many bytes."""


class NoForecast(InputError):
    """A model that cannot do without content."""


@dataclass(frozen=True)
class StepMemory:
    """Bytes of a training step, of tensors alone.

    Attributes:
        weights: Parameters and buffers.
        moments: What AdamW keeps of the trained ones between steps.
        peak: The most that is alive at one time: also gradients, activations, the batch.
    """

    weights: int
    moments: int
    peak: int

    @property
    def at_work(self) -> int:
        """What a step takes beyond what stays: gradients, activations and the batch."""
        return self.peak - self.weights - self.moments


def memory_of_training(
    config: ExperimentConfig, data: PreparedData, *, seed: int, on_cuda: bool
) -> StepMemory:
    """The memory of a run, by the largest batch of its first epoch; nothing is trained or loaded.

    Args:
        config: What would be trained.
        data: Its data set.
        seed: Seed of the data order.
        on_cuda: Whether it would be trained on a CUDA device; none is needed for this.

    Raises:
        InputError: config and data do not fit.
    """
    split = encode_split(config, data, "train")
    rows = epoch_batches(
        split.lengths, split.image_ids, config.optimisation.batch_size, seed=seed, epoch=1
    )
    largest = max(rows, key=lambda batch: len(batch) * max(split.lengths[row] for row in batch))
    (batch,) = load_batches(split, [largest])
    return memory_of_step(config, data.labels, batch, on_cuda=on_cuda)


def memory_of_step(
    config: ExperimentConfig, labels: Labels, batch: Batch, *, on_cuda: bool
) -> StepMemory:
    """The memory of a training step on a batch.

    Args:
        config: What would be trained.
        labels: The label sets.
        batch: On the CPU.
        on_cuda: As for `memory_of_training`.

    Raises:
        NoForecast: the model does what depends on values.
        InputError: config and labels do not fit.
    """
    try:
        return _memory_of_step(config, labels, batch, on_cuda)
    except InputError:
        raise
    except Exception as error:  # whatever a network makes of values that are not there
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise NoForecast(f"memory: no forecast for this model ({first})") from error


def _memory_of_step(
    config: ExperimentConfig, labels: Labels, batch: Batch, on_cuda: bool
) -> StepMemory:
    settings = config.optimisation
    if config.image.freeze and not config.image.augment:
        batch = _with_features(build_on_meta(config, labels), batch)
    with _without_content(on_cuda) as fake, _Living(CUDA_BLOCK if on_cuda else 1) as living:
        model = build_model(config, labels, pretrained=False)
        living.begin(*model.parameters(), *model.buffers())
        weights = living.now
        optimiser = Optimiser(
            model.parameter_groups(
                settings.weight_decay, settings.learning_rate, settings.encoder_learning_rate
            ),
            num_steps=2,
            warmup_ratio=settings.warmup_ratio,
            clip_norm=settings.clip_norm,
        )
        generator, resting = Generator(), 0
        for _ in range(2):  # AdamW's moments are there from the second step on
            with arithmetic(torch.device("cpu"), settings.precision):
                output = model(batch._map(fake.from_tensor), generator)
                with torch.autocast("cpu", enabled=False):
                    output.loss.backward()
            del output
            optimiser.step()
            resting = living.now
        return StepMemory(weights, resting - weights, living.peak)


def _with_features(model: ShapCA, batch: Batch) -> Batch:
    """The batch as a frozen image encoder has made it: its pictures are encoded before training."""
    if model.image is None or batch.images is None:
        return batch
    regions = model.image.backbone.num_regions(batch.images.shape[-1])
    images = torch.zeros(len(batch), regions + 1, model.image.width)
    return dataclasses.replace(batch, images=images)


class _Living(TorchDispatchMode):
    """Counts the bytes of all storages that operations make, until they are freed.

    Args:
        block: Sizes are rounded up to multiples of it.
    """

    def __init__(self, block: int) -> None:
        super().__init__()
        self._block = block
        self._sizes: dict[int, int] = {}
        self.now = self.peak = 0

    def begin(self, *tensors: Tensor) -> None:
        """Count these alone from here on."""
        self._sizes.clear()
        self.now = 0
        for tensor in tensors:
            self._add(tensor)
        self.peak = self.now

    def _add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._sizes:
            return
        self._sizes[key] = -(-storage.nbytes() // self._block) * self._block
        self.now += self._sizes[key]
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._free, key)

    def _free(self, key: int) -> None:
        self.now -= self._sizes.pop(key, 0)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        # Nothing can be read: checks of values hold, and numbers are one.
        if func is torch.ops.aten._local_scalar_dense.default:
            dtype = args[0].dtype
            return True if dtype == torch.bool else 1.0 if dtype.is_floating_point else 1
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self._add(leaf)
        return made


class _FusedAttention(torch.autograd.Function):
    """What fused attention keeps on CUDA: its input, output, and a number a query and head."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out = query.new_empty(*query.shape[:-1], value.shape[-1])
        ctx.save_for_backward(query, key, value, out, query.new_empty(query.shape[:-1]).float())
        return out

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.empty_like(given) for given in ctx.saved_tensors[:3])  # type: ignore[attr-defined]


def _fused_attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
    if torch.is_autocast_enabled("cpu"):
        query, key, value = (part.to(torch.bfloat16) for part in (query, key, value))
    return _FusedAttention.apply(query, key, value)


def _undrawn(tensor: Tensor, *_: Any, **__: Any) -> Tensor:
    return tensor


@contextmanager
def _without_content(on_cuda: bool) -> Iterator[FakeTensorMode]:
    with ExitStack() as stack:
        if on_cuda:
            name = "torch.nn.functional.scaled_dot_product_attention"
            stack.enter_context(mock.patch(name, _fused_attention))
        # It draws until all values are within bounds, which those without content never are.
        stack.enter_context(mock.patch("torch.nn.init._no_grad_trunc_normal_", _undrawn))
        yield stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))

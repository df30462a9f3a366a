"""The model of a run while it learns: one epoch of batches, steps and measurements."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from shapca.config import ExperimentConfig
from shapca.data.batches.batch import Batch
from shapca.data.batches.dataset import EncodedSplit
from shapca.data.batches.loader import load_batches, on_device
from shapca.data.batches.sampler import epoch_batches
from shapca.errors import InputError
from shapca.model.device import arithmetic
from shapca.model.heads.crf import CRFHead
from shapca.model.network import ModelOutput, ShapCA
from shapca.runs.checkpoint import TrainingState
from shapca.runs.tensors import Tensors, load_optimizer_tensors, optimizer_tensors
from shapca.training.collapse import warn_of_batch_size, warn_of_temperature
from shapca.training.optimisation import Optimiser
from shapca.training.random_state import RandomState

# Reading a number off a GPU waits for it, so losses are looked at once in so many steps there.
STEPS_BETWEEN_CHECKS = {"cpu": 1, "cuda": 32}
ALIGNMENT_TERMS = ("semantic", "modality", "positive_similarity", "negative_similarity")


class Diverged(Exception):
    """A loss or a gradient is not finite; the message says where and which."""


@dataclass(frozen=True)
class StepProgress:
    """How far an epoch has come.

    Attributes:
        epoch: Number of the epoch, from 1.
        batch: Batches done in this epoch.
        num_batches: Batches of an epoch.
        examples_per_second: Training rate since the epoch began.
        seconds: Time since the epoch began.
    """

    epoch: int
    batch: int
    num_batches: int
    examples_per_second: float
    seconds: float


class Learner:
    """Model, optimizer and random states of a run, between its epochs.

    Args:
        config: What to train.
        model: The model, on its device.
        split: The training posts.
        seed: Seed of the data order.
        random: Random states of the run.
        device: Where the model is.
        num_workers: Worker processes that collate batches.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        model: ShapCA,
        split: EncodedSplit,
        *,
        seed: int,
        random: RandomState,
        device: torch.device,
        num_workers: int,
    ) -> None:
        warn_of_temperature(config.alignment)
        warn_of_batch_size(config)
        settings = config.optimisation
        self.model = model
        self.random = random
        self._config = config
        self._split = split
        self._seed = seed
        self._device = device
        self._num_workers = num_workers
        self.num_batches = -(-len(split) // settings.batch_size)
        self.num_steps = -(-self.num_batches // settings.accumulation)  # of one epoch
        self._accumulation = settings.accumulation
        self._steps_between_checks = STEPS_BETWEEN_CHECKS.get(device.type, 1)
        self._parameters = dict(model.named_parameters())
        self._optimiser = Optimiser(
            model.parameter_groups(
                settings.weight_decay, settings.learning_rate, settings.encoder_learning_rate
            ),
            num_steps=self.num_steps * settings.epochs,
            warmup_ratio=settings.warmup_ratio,
            clip_norm=settings.clip_norm,
        )
        self._terms = ("main", *(ALIGNMENT_TERMS if model.alignment is not None else ()), "loss")
        if settings.compile != "none":
            _compile(model, settings.compile)

    @property
    def step(self) -> int:
        """Optimizer steps taken in the whole run."""
        return self._optimiser.step_number

    def tensors(self) -> Tensors:
        """Weights and moments as they are now."""
        return Tensors(
            model=self.model.state_dict(),
            optimizer=optimizer_tensors(self._optimiser.adamw, self._parameters),
        )

    def load(self, state: TrainingState, tensors: Tensors) -> None:
        """Go on from a checkpoint.

        Raises:
            InputError: it is damaged, or another model's.
        """
        try:
            self.model.load_state_dict(tensors.model)
        except RuntimeError as error:
            raise InputError(f"the checkpoint's weights do not fit the model ({error})") from error
        load_optimizer_tensors(self._optimiser.adamw, self._parameters, tensors.optimizer)
        self._optimiser.step_number = state.step
        self.random.load_json(state.random)

    def train_epoch(
        self, epoch: int, on_step: Callable[[StepProgress], None] | None
    ) -> dict[str, float]:
        """Train on every post once.

        Args:
            epoch: Number of the epoch, from 1; with the seed it gives the data order.
            on_step: Called after every batch.

        Returns:
            Means over the epoch and measurements, named `train/…`.

        Raises:
            Diverged: a loss or a gradient is not finite.
        """
        self.model.train()
        started = time.perf_counter()
        losses = torch.zeros(self.num_batches, len(self._terms), device=self._device)
        norms = torch.zeros(self.num_steps, device=self._device)
        batches = _timed(self._batches(epoch))
        seconds_waited, num_examples, done = 0.0, 0, 0
        for step in range(self.num_steps):
            group = min(self._accumulation, self.num_batches - done)
            for seconds, batch in islice(batches, group):
                seconds_waited += seconds
                losses[done] = self._backward(batch, group)
                done += 1
                num_examples += len(batch)
                if on_step is not None:
                    elapsed = time.perf_counter() - started
                    rate = num_examples / elapsed
                    on_step(StepProgress(epoch, done, self.num_batches, rate, elapsed))
            norms[step] = self._optimiser.step()
            if (step + 1) % self._steps_between_checks == 0 or done == self.num_batches:
                self._require_finite(epoch, losses[:done], norms[: step + 1])
        seconds = time.perf_counter() - started
        means = dict(zip(self._terms, losses.mean(0).tolist(), strict=True))
        metrics = {_metric_name(name): value for name, value in means.items()}
        alignment = self.model.alignment
        learnt = None if alignment is None else alignment.learnt_temperature()
        if learnt is not None:
            metrics["train/alignment_temperature"] = learnt.item()
        return {
            **metrics,
            "train/gradient_norm": norms.mean().item(),
            "train/samples_per_second": num_examples / seconds,
            "train/input_seconds": seconds_waited,
            "train/input_wait_share": seconds_waited / seconds,
            "train/seconds": seconds,
        }

    def _batches(self, epoch: int) -> Iterator[Batch]:
        rows = epoch_batches(
            self._split.lengths,
            self._split.image_ids,
            self._config.optimisation.batch_size,
            seed=self._seed,
            epoch=epoch,
        )
        augment = self._config.image.augment
        batches = load_batches(
            self._split,
            rows,
            augmentation=self._split.augmentation(self._seed, epoch) if augment else None,
            num_workers=self._num_workers,
            pin_memory=self._device.type == "cuda",
        )
        return on_device(batches, self._device)

    def _backward(self, batch: Batch, group: int) -> Tensor:
        """Add the gradients of one of `group` batches; its terms as one detached vector."""
        with arithmetic(self._device, self._config.optimisation.precision):
            output: ModelOutput = self.model(batch, self.random.generator)
            # Autocast is for the forward pass alone.
            with torch.autocast(self._device.type, enabled=False):
                (output.loss / group).backward()
        return torch.stack([getattr(output, term).detach().float() for term in self._terms])

    def _require_finite(self, epoch: int, losses: Tensor, norms: Tensor) -> None:
        bad_terms = (~torch.isfinite(losses)).nonzero().tolist()  # row by row: earliest first
        bad_norms = (~torch.isfinite(norms)).nonzero().flatten().tolist()
        batch, term = bad_terms[0] if bad_terms else (self.num_batches, 0)
        # A gradient that is not finite spoils the losses of all later batches.
        if bad_norms and batch >= (bad_norms[0] + 1) * self._accumulation:
            raise Diverged(
                f"epoch {epoch}, step {bad_norms[0] + 1} of {self.num_steps}: "
                f"the gradient's norm is {norms[bad_norms[0]].item()}"
            )
        if bad_terms:
            raise Diverged(
                f"epoch {epoch}, batch {batch + 1} of {self.num_batches}: "
                f"{_metric_name(self._terms[term])} is {losses[batch, term].item()}"
            )


def _compile(model: ShapCA, backend: str) -> None:
    """Compile the training pass in place, once for batches of any lengths.

    The alignment, small and full of indexing, stays out, and so does the CRF, whose loop over words
    would be compiled anew for each number of them.
    """
    for part in (model.alignment, model.head.crf if isinstance(model.head, CRFHead) else None):
        if part is not None:
            uncompiled = torch.compiler.disable(part.forward)
            part.forward = uncompiled  # type: ignore[method-assign]
    model.compile(backend=backend, dynamic=True)


def _metric_name(term: str) -> str:
    if term in ("main", "semantic", "modality"):
        return f"train/loss_{term}"
    return f"train/{term}"


def _timed(batches: Iterator[Batch]) -> Iterator[tuple[float, Batch]]:
    """Batches with the seconds that each was waited for."""
    iterator = iter(batches)
    while True:
        started = time.perf_counter()
        try:
            batch = next(iterator)
        except StopIteration:
            return
        yield time.perf_counter() - started, batch

"""How far Algorithm 1 is from the exact Shapley values on a trained model's own similarities.

D draws of a permutation, G directions of alignment, B posts of a batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from shapca import shapley
from shapca.alignment import Similarities, shapley_contrastive_loss
from shapca.alignment.contrastive import VALUE_TEMPERATURE, Negatives, positive_pairs
from shapca.alignment.standing import in_words
from shapca.config import RuntimeConfig
from shapca.data.batches.loader import load_batches
from shapca.data.batches.sampler import epoch_batches
from shapca.data.prepared import PreparedData
from shapca.data.schema import SPLITS
from shapca.errors import InputError
from shapca.model.device import set_up
from shapca.model.inputs import encode_posts, split_examples, without_gold
from shapca.runs.trained import TrainedModel
from shapca.storage import ObjectStore, place_name

Loss = Callable[..., Tensor]

_EXACT = partial(shapley.exact, tolerance=1e-9)


@dataclass(frozen=True)
class DirectionReport:
    """The error of `cyclic` in one direction of alignment.

    Attributes:
        direction: players and targets, e.g. `context to text`.
        num_batches: batches with at least two pairs; the others have no game.
        mean_players: players of a game on average.
        positive_similarity: mean cosine of the positive pairs.
        negative_similarity: mean cosine of all other pairs.
        value_size: root mean square of the exact values.
        value_error: root mean square error over all values and draws.
        own_value_size: the same of the values of the positive pairs, which the loss reads.
        own_value_error: the same of their errors.
        loss: mean exact loss.
        loss_error: root mean square error of a batch's loss.
        gradient_error: length of the error of the loss's gradient by the similarities, as a share
            of the exact gradient's length.
        gradient_cosine: mean cosine between estimated and exact gradient.
    """

    direction: str
    num_batches: int
    mean_players: float
    positive_similarity: float
    negative_similarity: float
    value_size: float
    value_error: float
    own_value_size: float
    own_value_error: float
    loss: float
    loss_error: float
    gradient_error: float
    gradient_cosine: float


@dataclass(frozen=True)
class ShapleyReport:
    """The error of `cyclic` on the similarities of a trained model.

    Attributes:
        temperature: tau of the run.
        negatives: `sum` or `mean`, as in the run.
        batch_size: posts of a batch.
        num_batches: batches looked at.
        num_draws: permutations drawn for each.
        directions: one report a direction.
        meaning: A sentence that says whether the run's alignments align.
    """

    temperature: float
    negatives: Negatives
    batch_size: int
    num_batches: int
    num_draws: int
    directions: tuple[DirectionReport, ...]
    meaning: str

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


def report_on_run(
    run: str | Path | ObjectStore,
    data: PreparedData,
    *,
    split: str = "valid",
    num_batches: int = 8,
    num_draws: int = 20,
    seed: int = 0,
    runtime: RuntimeConfig = RuntimeConfig(),
) -> ShapleyReport:
    """Measure the error of `cyclic` on a finished run's best model.

    Batches are composed as in training, with the run's batch size; the model is in evaluation mode.

    Args:
        run: folder or store of the run.
        data: a prepared data set of the run's task.
        split: `train`, `valid` or `test`.
        num_batches: batches to look at, at most; the last one of a split may be smaller.
        num_draws: permutations drawn for each batch.
        seed: of the batches and the permutations.
        runtime: device, threads and workers.

    Raises:
        InputError: no finished run, a run without alignment, another task, or a part of the data
            that is missing.
    """
    if split not in SPLITS:
        raise InputError(f"split {split!r}: expected one of {', '.join(SPLITS)}")
    trained = TrainedModel.load(run, set_up(runtime))
    config = trained.config
    if config.alignment.objective == "none":
        raise InputError(f"{place_name(run)}: the model has no alignment, so no similarities")
    if data.labels.task != config.task:
        raise InputError(
            f"{data.folder}: a data set for {data.labels.task}, the run is one for {config.task}"
        )
    examples = without_gold(split_examples(data, split), config.task)
    encoded = encode_posts(config, trained.labels, examples, trained.tokenizer, data, name=split)
    batch_size = config.optimisation.batch_size
    rows = epoch_batches(encoded.lengths, encoded.image_ids, batch_size, seed=seed, epoch=0)
    chosen = rows[:num_batches]

    def similarities() -> Iterator[Similarities]:
        for batch in load_batches(encoded, chosen, num_workers=runtime.num_workers):
            yield trained.model.compare(batch.to(trained.device))

    alignment = trained.model.alignment
    assert alignment is not None
    learnt = None if config.alignment.objective == "infonce" else alignment.learnt_temperature()
    directions = measure(
        similarities(),
        config.alignment.temperature,
        config.alignment.negatives,
        value_temperature=alignment.value_temperature if learnt is None else learnt.item(),
        num_draws=num_draws,
        generator=Generator().manual_seed(seed),
    )
    return ShapleyReport(
        temperature=config.alignment.temperature,
        negatives=config.alignment.negatives,
        batch_size=batch_size,
        num_batches=len(chosen),
        num_draws=num_draws,
        directions=directions,
        meaning=meaning_of(directions, read_together=trained.model.reads_together),
    )


def meaning_of(directions: tuple[DirectionReport, ...], *, read_together: bool) -> str:
    """A sentence on each alignment: collapsed, trivial or aligned.

    Args:
        directions: Of every alignment one direction, then the other directions.
        read_together: Whether text and context come out of one pass.
    """
    clauses = [
        in_words(report.direction, report.positive_similarity, report.negative_similarity,
                 read_together=read_together)
        for report in directions[: len(directions) // 2] if report.num_batches
    ]  # fmt: skip
    return ("; ".join(clauses) or "no pairs to compare").capitalize() + "."


def measure(
    batches: Iterator[Similarities],
    temperature: float,
    negatives: Negatives,
    *,
    value_temperature: float = VALUE_TEMPERATURE,
    num_draws: int,
    generator: Generator,
) -> tuple[DirectionReport, ...]:
    """Compare `cyclic` with the exact values, direction by direction.

    Args:
        batches: similarities of each batch, of the same directions.
        temperature: tau.
        negatives: how the loss takes its negatives.
        value_temperature: t of the negatives `softmax`.
        num_draws: permutations drawn for each batch.
        generator: source of the permutations.

    Raises:
        ValueError: no batches.
    """
    loss = partial(
        shapley_contrastive_loss,
        temperature=temperature,
        negatives=negatives,
        value_temperature=value_temperature,
    )
    names: tuple[str, ...] = ()
    sums: list[Tensor] = []
    for similarities in batches:
        names = similarities.names
        sums.append(_sums(similarities, loss, temperature, num_draws, generator).cpu())
    if not sums:
        raise ValueError("batches: expected at least one")
    return tuple(
        _direction(name, column)
        for name, column in zip(names, torch.stack(sums).sum(0).unbind(-1), strict=True)
    )


def _sums(
    similarities: Similarities,
    loss: Loss,
    temperature: float,
    num_draws: int,
    generator: Generator,
) -> Tensor:
    """What one batch adds to the report: (14, G), the rows of `_direction`."""
    s_GBB, mask_GB = similarities.matrices.double(), similarities.mask
    played_G = mask_GB.sum(-1) > 1
    mask_GB = mask_GB & played_G[:, None]
    valid_GBB = mask_GB[:, :, None] & mask_GB[:, None, :]
    own_BB = positive_pairs(s_GBB)
    draws_DGBB = s_GBB.expand(num_draws, -1, -1, -1)

    exact_GBB = _EXACT(s_GBB, temperature, player_mask=mask_GB)
    found_DGBB = shapley.cyclic(draws_DGBB, temperature, player_mask=mask_GB, generator=generator)
    squares_GBB = (found_DGBB - exact_GBB).square().mean(0)

    exact_loss_G, exact_slope_GBB = _loss_and_gradient(
        partial(loss, estimator=_EXACT, mask=mask_GB), s_GBB
    )
    loss_DG, slope_DGBB = _loss_and_gradient(
        partial(loss, estimator=shapley.cyclic, mask=mask_GB, generator=generator), draws_DGBB
    )
    exact_length_G = exact_slope_GBB.square().sum((-2, -1))
    length_DG = slope_DGBB.square().sum((-2, -1))
    product_DG = (slope_DGBB * exact_slope_GBB).sum((-2, -1))
    cosine_DG = product_DG / (length_DG * exact_length_G).sqrt().clamp(min=1e-300)

    def total(values: Tensor, pairs: Tensor) -> Tensor:
        return (values * pairs).sum((-2, -1))

    positive, negative = valid_GBB & own_BB, valid_GBB & ~own_BB
    return torch.stack(
        [
            played_G.double(),
            positive.sum((-2, -1)).double(),
            negative.sum((-2, -1)).double(),
            total(s_GBB, positive),
            total(s_GBB, negative),
            total(exact_GBB.square(), valid_GBB),
            total(squares_GBB, valid_GBB),
            total(exact_GBB.square(), positive),
            total(squares_GBB, positive),
            exact_loss_G * played_G,
            (loss_DG - exact_loss_G).square().mean(0) * played_G,
            exact_length_G,
            (slope_DGBB - exact_slope_GBB).square().sum((-2, -1)).mean(0),
            cosine_DG.mean(0) * played_G,
        ]
    )


def _loss_and_gradient(loss: Loss, similarity: Tensor) -> tuple[Tensor, Tensor]:
    """Losses (...) of matrices (..., B, B), and each one's gradient (..., B, B)."""
    similarity = similarity.detach().clone().requires_grad_()
    losses = loss(similarity)
    (gradient,) = torch.autograd.grad(losses.sum(), similarity)
    return losses.detach(), gradient


def _direction(name: str, sums: Tensor) -> DirectionReport:
    """A direction's report from its sums over batches."""
    (
        games, positives, negatives, positive, negative, values, value_errors, own_values,
        own_errors, loss, loss_errors, slopes, slope_errors, cosines,
    ) = sums.tolist()  # fmt: skip
    pairs = positives + negatives

    def mean(total: float, count: float) -> float:
        return total / count if count else 0.0

    def root(square: float, count: float) -> float:
        return math.sqrt(mean(square, count))

    return DirectionReport(
        direction=name,
        num_batches=round(games),
        mean_players=mean(positives, games),
        positive_similarity=mean(positive, positives),
        negative_similarity=mean(negative, negatives),
        value_size=root(values, pairs),
        value_error=root(value_errors, pairs),
        own_value_size=root(own_values, positives),
        own_value_error=root(own_errors, positives),
        loss=mean(loss, games),
        loss_error=root(loss_errors, games),
        gradient_error=root(slope_errors, slopes),
        gradient_cosine=mean(cosines, games),
    )

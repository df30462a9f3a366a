"""What became of a run's alignment, and the warnings of one that collapses."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from shapca.alignment.standing import COLLAPSED_BELOW, GAP, Standing, standings
from shapca.config import AlignmentConfig, ExperimentConfig
from shapca.runs.epochs import EpochRecord

# With summed negatives, all cosines at -1 cost less than perfect alignment above this temperature.
COLLAPSE_TEMPERATURE = 0.35

logger = logging.getLogger(__name__)


def warn_of_temperature(alignment: AlignmentConfig) -> None:
    """Warn, before training, of settings under which collapse is the loss's optimum."""
    summed = alignment.objective == "shapley" and alignment.negatives == "sum"
    if summed and alignment.temperature > COLLAPSE_TEMPERATURE:
        logger.warning(
            "alignment.temperature %g with alignment.negatives sum: above about %g the loss is "
            "even lowest where all similarities fall to -1, and training may end there at any "
            "temperature; watch val/%s…, or set alignment.negatives to mean or softmax",
            alignment.temperature,
            COLLAPSE_TEMPERATURE,
            GAP,
        )


def warn_of_batch_size(config: ExperimentConfig) -> None:
    """Warn, before training, of batches in which an alignment has nothing to tell apart."""
    if config.alignment.objective != "none" and config.optimisation.batch_size == 1:
        logger.warning(
            "optimisation.batch_size 1: a batch of one post has no negatives, so its alignment "
            "does nothing; raise it, or set alignment.objective to none"
        )


def warn_of_collapse(history: Sequence[EpochRecord], alignment: AlignmentConfig) -> None:
    """Warn, at a run's end, of alignments that told true pairs from others in no epoch."""
    found = _standings(history, alignment)
    collapsed = [pair.replace("_", " with ") for pair, end in found.items() if end == "collapsed"]
    if collapsed:
        logger.warning(
            "the alignment collapsed (%s): in no epoch was the mean cosine of true pairs %g above "
            "that of all others (val/%s…); %s",
            ", ".join(collapsed),
            COLLAPSED_BELOW,
            GAP,
            "set alignment.negatives to mean or softmax, or try another temperature"
            if alignment.objective == "shapley" and alignment.negatives == "sum"
            else "try more epochs or another temperature",
        )


def alignment_of(history: Sequence[EpochRecord], alignment: AlignmentConfig) -> Standing | None:
    """The worst of what the alignments of a run came to, or `None` where there are none."""
    order: tuple[Standing, ...] = ("collapsed", "aligned", "trivial")
    return min(_standings(history, alignment).values(), key=order.index, default=None)


def _standings(history: Sequence[EpochRecord], alignment: AlignmentConfig) -> dict[str, Standing]:
    """What became of the alignments that have a weight in the loss."""
    found = standings([record.metrics for record in history])
    weights = {pair: alignment.beta if "image" in pair else alignment.alpha for pair in found}
    return {pair: standing for pair, standing in found.items() if weights[pair] > 0}

"""What the measurements of `health` say of an alignment; nothing here needs PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

COLLAPSED_BELOW = 0.05
"""A gap below it: true pairs are not told from others."""

GAP, JOINT = "alignment_gap_", "_joint"
Standing = Literal["collapsed", "trivial", "aligned"]


def standing_of(gap: float, *, read_together: bool) -> Standing:
    """What a gap says of one alignment; `trivial` where both sides were read in one pass."""
    if gap < COLLAPSED_BELOW:
        return "collapsed"
    return "trivial" if read_together else "aligned"


def in_words(direction: str, positive: float, negative: float, *, read_together: bool) -> str:
    """A clause that says what the mean cosines of an alignment mean.

    Args:
        direction: One of the alignment's directions, e.g. `context to text`.
        positive: Mean cosine of the true pairs.
        negative: Mean cosine of all other pairs.
        read_together: Whether text and context come out of one pass.
    """
    sides = direction.replace(" to ", " and ")
    together = read_together and "image" not in direction
    verdict = {
        "collapsed": "have collapsed: true pairs look like any other",
        "trivial": "agree trivially: one pass reads them together, so that no alignment is needed",
        "aligned": "are aligned",
    }[standing_of(positive - negative, read_together=together)]
    return f"{sides} {verdict} (mean cosine {positive:.2f}, of other pairs {negative:.2f})"


def standings(epochs: Sequence[Mapping[str, float]]) -> dict[str, Standing]:
    """How the alignments of a run ended: by name (`context_image`), judged by their widest gap.

    Args:
        epochs: Validation metrics of each epoch, their names with or without a prefix such as
            `val/`.
    """
    widest: dict[str, float] = {}
    for metrics in epochs:
        for name, value in metrics.items():
            _, is_gap, pair = name.partition(GAP)
            if is_gap:
                widest[pair] = max(value, widest.get(pair, value))
    return {
        pair.removesuffix(JOINT): standing_of(gap, read_together=pair.endswith(JOINT))
        for pair, gap in widest.items()
    }

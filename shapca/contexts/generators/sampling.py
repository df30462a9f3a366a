"""Drawing tokens such that a picture's text does not depend on the batch that it is in.

B batch, V vocabulary, N new tokens.

`generate` of transformers draws a whole batch from one stream, so a picture's text would change
with its neighbours. Here each row has numbers of its own, drawn beforehand from the picture's seed,
and token n of a row is found from number n by inverting the cumulative distribution.

What that guarantees: the numbers are the same on every machine and in every batch. The
probabilities are as equal as the model's arithmetic makes them: a batch of another size or padding
may round differently, which moves a drawn token only where its number falls within the rounding
error of a boundary: rarely with float32 weights, more often with bfloat16 (how often was not
measured). With `--batch-size 1` nothing differs but the hardware.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor

_LOWEST = float("-inf")


class SeededSampler(LogitsProcessor):
    """Chooses each row's next token, and keeps what it chose.

    It stands last in `generate(do_sample=False)`, whose arg max then finds the chosen token.

    Args:
        seeds: B seeds, one a row.
        temperature: 0 takes the likeliest token.
        max_new_tokens: N.
        stops: Tokens that end a text.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        temperature: float,
        max_new_tokens: int,
        stops: Collection[int],
    ) -> None:
        self._temperature = temperature
        self._stops = frozenset(stops)
        self._chosen: list[list[int]] = [[] for _ in seeds]
        numbers = [np.random.default_rng(seed).random(max_new_tokens) for seed in seeds]
        self._numbers = torch.from_numpy(np.stack(numbers))  # (B, N) float64 in [0, 1)
        self._step = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Leave each row its chosen token alone.

        Args:
            input_ids: Unused.
            scores: (B, V) logits.

        Returns:
            (B, V): 0 at the chosen token, minus infinity elsewhere.
        """
        chosen = self._choose(scores)  # (B, 1)
        for row, token in zip(self._chosen, chosen[:, 0].tolist(), strict=True):
            if not row or row[-1] not in self._stops:
                row.append(token)
        self._step += 1
        return torch.full_like(scores, _LOWEST).scatter_(1, chosen, 0.0)

    def _choose(self, scores: Tensor) -> Tensor:
        if self._temperature == 0:
            return scores.argmax(-1, keepdim=True)
        probabilities = (scores.double() / self._temperature).softmax(-1)  # (B, V)
        cumulative = probabilities.cumsum(-1)
        number = self._numbers[:, self._step : self._step + 1].to(scores.device)
        # Scaled to the sum as it came out, so that a number near 1 cannot fall beyond the last.
        chosen = torch.searchsorted(cumulative, number * cumulative[:, -1:], right=True)
        likely = probabilities > 0
        last = likely.shape[1] - 1 - likely.flip(-1).int().argmax(-1, keepdim=True)
        return chosen.minimum(last)

    def texts(self) -> list[tuple[list[int], bool]]:
        """Each row's tokens without the one that ends it, and whether one did."""
        rows = []
        for row in self._chosen:
            ended = bool(row) and row[-1] in self._stops
            rows.append((row[:-1] if ended else row, ended))
        return rows

    @property
    def num_tokens(self) -> list[int]:
        """Tokens that each row took, the one that ends it included."""
        return [len(row) for row in self._chosen]

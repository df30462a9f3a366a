"""What is read off posts batch by batch, and predictions with how sure the model is of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch

from shapca.data.batches.batch import Batch
from shapca.data.batches.dataset import EncodedSplit
from shapca.data.batches.loader import load_batches
from shapca.data.batches.sampler import epoch_batches
from shapca.data.schema import Example, Prediction
from shapca.model.device import arithmetic
from shapca.model.heads.confidences import Confidence, to_confidences
from shapca.model.heads.predictions import to_predictions
from shapca.model.network import ShapCA
from shapca.runs.trained import TrainedModel

Found = TypeVar("Found")


def read_batches(
    model: ShapCA,
    split: EncodedSplit,
    read: Callable[[Batch, Sequence[Example]], Iterable[Found]],
    *,
    batch_size: int,
    precision: str,
    device: torch.device,
    num_workers: int = 0,
) -> list[Found]:
    """What is read off each post in batches of like lengths, in the order of the split."""
    model.eval()
    batches = epoch_batches(
        split.lengths, split.image_ids, batch_size, seed=0, epoch=0, shuffle=False
    )
    found: dict[int, Found] = {}
    loaded = load_batches(split, batches, num_workers=num_workers, pin_memory=device.type == "cuda")
    with torch.inference_mode(), arithmetic(device, precision):
        for rows, batch in zip(batches, loaded, strict=True):
            examples = [split.examples[row] for row in rows]
            found |= zip(rows, read(batch.to(device), examples), strict=True)
    return [found[row] for row in range(len(split))]


def predict_with_confidence(
    trained: TrainedModel, encoded: EncodedSplit
) -> list[tuple[Prediction, Confidence]]:
    """`predict_encoded`, with how sure the model is of what it found."""
    model, labels, settings = trained.model, trained.labels, trained.config.optimisation

    def read(batch: Batch, examples: Sequence[Example]) -> Iterable[tuple[Prediction, Confidence]]:
        decoded, evidence = model.predict_with_evidence(batch)
        predictions = to_predictions(decoded, examples, labels)
        sure = to_confidences(evidence, decoded, predictions, labels)
        return zip(predictions, sure, strict=True)

    return read_batches(
        model, encoded, read,
        batch_size=settings.batch_size, precision=trained.precision, device=trained.device,
    )  # fmt: skip


def compare_with_alignment(trained: TrainedModel, encoded: EncodedSplit) -> list[dict[str, float]]:
    """The cosines of each post's own sides that the model's alignment is made of.

    Returns:
        Cosines by name, e.g. `text and context`, of the sides that a post has.

    Raises:
        ValueError: the model has no alignment.
    """
    settings = trained.config.optimisation

    def read(batch: Batch, examples: Sequence[Example]) -> Iterable[dict[str, float]]:
        found = trained.model.compare(batch)
        half = len(found.names) // 2  # the other directions have the same pairs
        own = found.matrices[:half].diagonal(dim1=1, dim2=2).T.tolist()  # B lists of cosines
        names = [" and ".join(reversed(name.split(" to "))) for name in found.names[:half]]
        for cosines, there in zip(own, found.mask[:half].T.tolist(), strict=True):
            yield {n: c for n, c, has in zip(names, cosines, there, strict=True) if has}

    return read_batches(
        trained.model, encoded, read,
        batch_size=settings.batch_size, precision=trained.precision, device=trained.device,
    )  # fmt: skip

"""Alignment on real pairs: can a text find its own picture, and a picture its text?

`python -m tests.benchmarks.real_alignment --data FOLDER --out FOLDER`, or `make bench-alignment`,
where FOLDER holds `posts.jsonl` (id, split, text, image) and `images/`. Texts are read by a frozen
MiniLM, pictures by a frozen EfficientNet-Lite0, once; what is learnt is one linear layer each. A
cell is one value of each axis and one seed; it is a line of `cells.jsonl`, and the same command
resumes. Epoch, temperature, batch size and learning rate are chosen by mean rank on the validation
split, and the table shows the test split; its intervals are over seeds.

N posts, k posts of a batch, D width of the common space.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional

from shapca.alignment import infonce_loss, shapley_contrastive_loss
from shapca.alignment.contrastive import VALUE_TEMPERATURE, Negatives
from shapca.data.decoding import load_square
from shapca.model.encoders import load_image_encoder, load_text_model, load_tokenizer

SIZE, MARGIN = 224, 16  # the centre of a square of 256 pixels
WIDTH = 256
PATIENCE = 4
METRICS = ("R@1", "R@10", "mean rank", "cosine gap")
Pairs = dict[str, tuple[Tensor, Tensor]]
"""Split to features of texts (N, H) and of their pictures (N, H_v)."""
OBJECTIVES = ("infonce", *get_args(Negatives))


@dataclass(frozen=True)
class Cell:
    """One training.

    Attributes:
        objective: `infonce`, or how the Shapley values of negatives enter the loss.
        estimator: Of the Shapley values; `none` of InfoNCE.
        temperature: Tau.
        batch_size: k.
        learning_rate: Peak rate.
        seed: Of weights and batches.
        value_temperature: Of `softmax`; 0 of the others.
    """

    objective: str
    estimator: str
    temperature: float
    batch_size: int
    learning_rate: float
    seed: int
    value_temperature: float = 0.0

    @property
    def choice(self) -> tuple[float, float, int, float]:
        """What is chosen on validation."""
        return self.temperature, self.value_temperature, self.batch_size, self.learning_rate

    def loss(self, similarity: Tensor) -> Tensor:
        """The objective of similarities (..., k, k)."""
        if self.objective == "infonce":
            return infonce_loss(similarity, self.temperature)
        return shapley_contrastive_loss(
            similarity,
            self.temperature,
            self.estimator,
            cast(Negatives, self.objective),
            value_temperature=self.value_temperature or VALUE_TEMPERATURE,
        )


def read_pairs(data: Path, out: Path) -> Pairs:
    """Features of all posts, computed once and kept beside the results."""
    file = out / "features.npz"
    if not file.is_file():
        posts = [json.loads(line) for line in (data / "posts.jsonl").open(encoding="utf-8")]
        texts = text_features([post["text"] for post in posts])
        images = image_features([data / "images" / post["image"] for post in posts])
        np.savez(file, splits=[post["split"] for post in posts], texts=texts, images=images)
    with np.load(file) as kept:
        splits, texts, images = (kept[name] for name in ("splits", "texts", "images"))
    return {
        split: (torch.from_numpy(texts[splits == split]), torch.from_numpy(images[splits == split]))
        for split in ("train", "valid", "test")
    }


@torch.inference_mode()
def text_features(texts: Sequence[str]) -> Tensor:
    """(N, H) masked mean of MiniLM's last layer."""
    bert, tokenizer = load_text_model("minilm").eval(), load_tokenizer("minilm")
    features = []
    for batch in (texts[start : start + 64] for start in range(0, len(texts), 64)):
        inputs = tokenizer(
            list(batch), padding=True, truncation=True, max_length=128, return_tensors="pt"
        )
        weights = inputs["attention_mask"][:, :, None].float()
        hidden = bert(**inputs).last_hidden_state  # (k, T, H)
        features.append((hidden * weights).sum(1) / weights.sum(1))
    return torch.cat(features)


@torch.inference_mode()
def image_features(files: Sequence[Path]) -> Tensor:
    """(N, H_v) mean over the regions of an EfficientNet-Lite0."""
    encoder = load_image_encoder("efficientnet-lite0", "pretrained", size=SIZE).eval()
    centre = slice(MARGIN, MARGIN + SIZE)
    features = []
    for batch in (files[start : start + 32] for start in range(0, len(files), 32)):
        squares = np.stack([load_square(file)[centre, centre] for file in batch])
        pixels = torch.from_numpy(squares).permute(0, 3, 1, 2)
        features.append(encoder(pixels, torch.ones(len(batch), dtype=torch.bool)).pooled)
    return torch.cat(features)


def train_cell(cell: Cell, pairs: Pairs, epochs: int) -> dict[str, float]:
    """Train one cell, until validation is no better; scores of the epoch that is best there."""
    generator = torch.Generator().manual_seed(cell.seed)
    torch.manual_seed(cell.seed)
    texts, images = pairs["train"]
    towers = nn.ModuleList(nn.Linear(side.shape[1], WIDTH) for side in (texts, images))
    optimiser = torch.optim.AdamW(towers.parameters(), lr=cell.learning_rate, weight_decay=0.01)
    best: dict[str, float] = {}
    for epoch in range(1, epochs + 1):
        # The last batch is left out where it is smaller: it would be another game.
        order = torch.randperm(len(texts), generator=generator)
        for rows in order.split(cell.batch_size)[: len(texts) // cell.batch_size]:
            similarity = cosines(towers, texts[rows], images[rows])
            both = torch.stack((similarity, similarity.mT))  # (2, k, k)
            optimiser.zero_grad()
            cell.loss(both).mean().backward()
            optimiser.step()
        scores = {"epoch": float(epoch)}
        with torch.inference_mode():
            for split in ("valid", "test"):
                found = retrieval(cosines(towers, *pairs[split]))
                scores |= {f"{split} {name}": value for name, value in found.items()}
        if not best or scores["valid mean rank"] < best["valid mean rank"]:
            best = scores
        elif epoch - best["epoch"] >= PATIENCE:
            break
    return best


def cosines(towers: nn.ModuleList, texts: Tensor, images: Tensor) -> Tensor:
    """(k, k) texts by pictures."""
    left, right = (
        functional.normalize(tower(side), dim=-1)
        for tower, side in zip(towers, (texts, images), strict=True)
    )
    return left @ right.mT


def retrieval(similarity: Tensor) -> dict[str, float]:
    """Where the own one of the other side stands among all (N, N); means over both directions.

    Returns:
        R@1 and R@10 in percent, the mean rank (0 best, 1 worst; .5 by chance), and by how much the
        mean cosine of the pairs is above that of all others. Ties count half.
    """
    size = len(similarity)
    own = similarity.diagonal()
    others = ~torch.eye(size, dtype=torch.bool)
    scores: dict[str, float] = defaultdict(float)
    for matrix in (similarity, similarity.mT):
        above = ((matrix > own[:, None]) & others).sum(1)
        ranks = above + ((matrix == own[:, None]) & others).sum(1) / 2  # 0 is best
        scores["R@1"] += 50 * (ranks < 1).double().mean().item()
        scores["R@10"] += 50 * (ranks < 10).double().mean().item()
        scores["mean rank"] += ranks.double().mean().item() / (size - 1) / 2
    return {**scores, "cosine gap": (own.mean() - similarity[others].mean()).item()}


def run(cells: Iterable[Cell], pairs: Pairs, file: Path, epochs: int) -> None:
    """Train what the file does not hold yet; each cell is written as it is done."""
    done = {cell for cell, _ in read_cells(file)}
    for cell in cells:
        if cell not in done:
            scores = train_cell(cell, pairs, epochs)
            with file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(dataclasses.asdict(cell) | {"scores": scores}) + "\n")
            print(cell, {name: round(value, 3) for name, value in scores.items()}, flush=True)


def read_cells(file: Path) -> list[tuple[Cell, Mapping[str, float]]]:
    """The cells of a file; a last line that a kill cut short is removed."""
    if not file.is_file():
        return []
    content = file.read_text(encoding="utf-8")
    whole = content[: content.rfind("\n") + 1]
    if whole != content:
        file.write_text(whole, encoding="utf-8")
    records = [json.loads(line) for line in whole.splitlines()]
    scores = [record.pop("scores") for record in records]
    return [(Cell(**record), found) for record, found in zip(records, scores, strict=True)]


def table(cells: Iterable[tuple[Cell, Mapping[str, float]]]) -> str:
    """One row an objective and estimator: its choice, and test means with 95% intervals."""
    rows: dict[tuple[str, str], dict[tuple[float, float, int, float], list[Mapping[str, float]]]]
    rows = defaultdict(lambda: defaultdict(list))
    for cell, scores in cells:
        rows[cell.objective, cell.estimator][cell.choice].append(scores)
    lines = [
        f"| objective | estimator | tau | t | batch | rate | seeds | {' | '.join(METRICS)} |",
        f"|{'---|' * 11}",
    ]
    for (objective, estimator), choices in rows.items():
        most = max(map(len, choices.values()))  # where it was interrupted, some have fewer seeds
        whole = {key: seeds for key, seeds in choices.items() if len(seeds) == most}
        choice = min(whole, key=lambda key: np.mean([s["valid mean rank"] for s in choices[key]]))
        seeds = choices[choice]
        shown = [interval([scores[f"test {name}"] for scores in seeds]) for name in METRICS]
        start = (objective, estimator, *(f"{part:g}" for part in choice), str(len(seeds)))
        lines.append(f"| {' | '.join((*start, *shown))} |")
    return "\n".join(lines)


def interval(values: Sequence[float]) -> str:
    """Mean and half width of its 95% interval (Student's t)."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:.3f}"
    width = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
    return f"{mean:.3f} ± {width:.3f}"


def main() -> None:
    """Read the options, train what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--objectives", nargs="+", default=list(OBJECTIVES), choices=OBJECTIVES)
    parser.add_argument("--estimators", nargs="+", default=["cyclic", "exact"])
    parser.add_argument("--temperatures", nargs="+", type=float, default=[0.05, 0.1, 0.3, 0.5])
    parser.add_argument("--value-temperatures", nargs="+", type=float, default=[0.01, 0.02, 0.05])
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[28, 128])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--learning-rates", nargs="+", type=float, default=[1e-3])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "cells.jsonl"
    axes = (
        options.batch_sizes,
        options.temperatures,
        options.learning_rates,
        options.objectives,
        options.estimators,
        options.value_temperatures,
    )
    cells = [
        # InfoNCE has no estimator, and softmax alone a second temperature.
        Cell(
            objective,
            "none" if objective == "infonce" else estimator,
            tau,
            size,
            rate,
            seed,
            value_temperature if objective == "softmax" else 0.0,
        )
        for seed in range(options.seeds)
        for size, tau, rate, objective, estimator, value_temperature in itertools.product(*axes)
    ]
    pairs = read_pairs(options.data, options.out)
    run(dict.fromkeys(cells), pairs, file, options.epochs)
    print(table(read_cells(file)))


if __name__ == "__main__":
    main()

"""Heads written as printed: enumeration, the literal concatenation, cell-by-cell tables."""

import itertools
from collections import Counter

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchcrf import CRF

from shapca.data.schema import NONE, Entity, Relation, Span


def crf_score(crf: CRF, emissions: Tensor, path: tuple[int, ...]) -> Tensor:
    """Score of one tag path over emissions (W, L)."""
    score = crf.start_transitions[path[0]] + crf.end_transitions[path[-1]]
    for word, tag in enumerate(path):
        score = score + emissions[word, tag]
    for before, after in itertools.pairwise(path):
        score = score + crf.transitions[before, after]
    return score


def crf_loss(crf: CRF, emissions: Tensor, gold: tuple[int, ...]) -> Tensor:
    """Negative log-likelihood by enumerating all L**W paths."""
    num_words, num_tags = emissions.shape
    paths = itertools.product(range(num_tags), repeat=num_words)
    scores = torch.stack([crf_score(crf, emissions, path) for path in paths])
    return scores.logsumexp(0) - crf_score(crf, emissions, gold)


def is_bio(tags: tuple[str, ...]) -> bool:
    """Whether every `I-X` follows `B-X` or `I-X`."""
    return all(
        not tag.startswith("I-") or before in (f"B-{tag[2:]}", tag)
        for before, tag in itertools.pairwise(("O", *tags))
    )


def crf_best(crf: CRF, emissions: Tensor, tags: tuple[str, ...]) -> list[int]:
    """The best path among those that BIO allows, by enumeration."""
    paths = itertools.product(range(len(tags)), repeat=len(emissions))
    allowed = [path for path in paths if is_bio(tuple(tags[tag] for tag in path))]
    return list(max(allowed, key=lambda path: crf_score(crf, emissions, path).item()))


def crf_entity(
    crf: CRF, emissions: Tensor, tags: tuple[str, ...], entity: tuple[int, int, str]
) -> float:
    """The share of all paths that BIO allows which hold exactly an entity, by enumeration."""
    start, end, kind = entity
    total = held = 0.0
    for path in itertools.product(range(len(tags)), repeat=len(emissions)):
        names = tuple(tags[tag] for tag in path)
        if is_bio(names):
            weight = crf_score(crf, emissions, path).exp().item()
            total += weight
            wanted = (f"B-{kind}", *(end - start - 1) * (f"I-{kind}",))
            if names[start:end] == wanted and names[end : end + 1] != (f"I-{kind}",):
                held += weight
    return held / total


def pair_layer(linear: nn.Linear, features: Tensor) -> Tensor:
    """Eq. 14 with the concatenation built: (B, W, width) -> (B, W, W, d2)."""
    num_words = features.shape[1]
    first = features[:, :, None].expand(-1, -1, num_words, -1)
    second = features[:, None].expand(-1, num_words, -1, -1)
    return F.gelu(linear(torch.cat([first, second, first - second], dim=-1)))


def contrast(joint: Tensor, text: Tensor, base: str, scale: float) -> Tensor:
    """Eq. 17 on probabilities, as printed."""
    first = joint if base == "probability" else joint.log()
    return (first + scale * torch.log(joint / text)).softmax(-1)


def word_pair_probabilities(head, channels) -> tuple[Tensor, Tensor | None]:
    """Final and text-only probabilities of all word pairs, (B, W, W, L), as printed."""
    pairs = [
        pair_layer(layer.linear, channel)
        for layer, channel in zip(head.pairs, channels.present, strict=True)
    ]
    joint = head.classifier(torch.cat(pairs, dim=-1)).softmax(-1)
    text = None if head.text_classifier is None else head.text_classifier(pairs[0]).softmax(-1)
    if head.contrast is None:
        return joint, text
    return contrast(joint, text, head.contrast, head.contrast_scale), text


def cross_entropy(probabilities, gold, mask, *, none_weight: float, reduction: str) -> Tensor:
    """Eq. 18, cell by cell."""
    total, weights = probabilities.new_zeros(()), 0.0
    for post, row, column in itertools.product(*map(range, mask.shape)):
        if mask[post, row, column]:
            label = gold[post, row, column]
            weight = none_weight if label == 0 else 1.0
            total = total - weight * probabilities[post, row, column, label].log()
            weights += weight
    return total / weights if reduction == "mean" else total / len(mask)


def encode_table(num_words, entities, relations, labels) -> list[list[int]]:
    """A table written cell by cell, item by item."""
    table = [[0] * num_words for _ in range(num_words)]
    types = {entity.span: entity.type for entity in entities}

    def write(first: Span, second: Span, label: str) -> None:
        for i in range(*first):
            for j in range(*second):
                table[min(i, j)][max(i, j)] = labels.pair_labels.index(label)

    for span, kind in types.items():
        if all(span not in (relation.head, relation.tail) for relation in relations):
            write(span, span, kind)
    for relation in relations:
        write(relation.head, relation.head, types[relation.head])
        write(relation.tail, relation.tail, types[relation.tail])
        if relation.type != NONE:
            write(relation.head, relation.tail, relation.type)
    return table


def decode_table(table, labels) -> tuple[tuple[Entity, ...], tuple[Relation, ...]]:
    """Entities and relations read off cell by cell."""
    entities, start = [], None
    for word in range(len(table) + 1):
        is_entity = word < len(table) and (
            labels.pair_labels[table[word][word]] in labels.entity_types
        )
        if is_entity and start is None:
            start = word
        if not is_entity and start is not None:
            entities.append(Entity(start, word, labels.pair_labels[table[start][start]]))
            start = None
    relations = []
    for first, second in itertools.combinations(entities, 2):
        cells = [table[i][j] for i in range(*first.span) for j in range(*second.span)]
        votes = Counter(labels.pair_labels[cell] for cell in cells)
        found = [kind for kind in labels.relation_types if votes[kind] > 0]
        if found:  # `max` gives the first among equals
            relations.append(Relation(first.span, second.span, max(found, key=votes.__getitem__)))
    return tuple(entities), tuple(relations)

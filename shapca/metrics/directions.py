"""Which entity of a relation is its head: the word-pair table does not tell, the types often do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shapca.data.schema import NONE, Example, Prediction, Relation

Key = tuple[str, str, str]  # type of the earlier entity, type of the later one, relation


@dataclass(frozen=True)
class DirectionRule:
    """The majority order of (type, type, relation) in training data.

    Attributes:
        votes: by the earlier entity's type, the later one's type and the relation: in how many
            training relations the earlier entity was the head, less those in which it was not.
    """

    votes: Mapping[Key, int]

    def earlier_is_head(self, earlier: str, later: str, relation: str) -> bool:
        """Whether the entity that comes first in the text is the relation's head.

        Entities of two types are told apart by type, whichever comes first in the text; entities
        of one type by their order. A tie or an unseen combination makes the earlier one the head.
        """
        votes = self.votes.get((earlier, later, relation), 0)
        if earlier != later:
            votes -= self.votes.get((later, earlier, relation), 0)
        return votes >= 0

    def apply(self, prediction: Prediction) -> Prediction:
        """The prediction with each relation turned to its majority direction.

        Raises:
            ValueError: a relation's span is no typed entity of the prediction.
        """
        types = {entity.span: entity.type for entity in prediction.entities}
        relations = []
        for relation in prediction.relations:
            earlier, later = sorted((relation.head, relation.tail))
            earlier_type, later_type = types.get(earlier), types.get(later)
            if earlier_type is None or later_type is None:
                raise ValueError(f"{relation}: both its spans must be typed entities of its post")
            forward = self.earlier_is_head(earlier_type, later_type, relation.type)
            head, tail = (earlier, later) if forward else (later, earlier)
            relations.append(Relation(head, tail, relation.type))
        return Prediction(prediction.tags, prediction.entities, tuple(relations))

    def rename(self, label_map: Mapping[str, str]) -> DirectionRule:
        """The same rule in the labels of another data set; votes of merged labels add up."""
        votes: Counter[Key] = Counter()
        for (earlier, later, relation), count in self.votes.items():
            first, second, kind = (label_map.get(x, x) for x in (earlier, later, relation))
            votes[first, second, kind] += count
        return DirectionRule(dict(votes))

    def to_json(self) -> list[list[Any]]:
        """Rows of type, type, relation and votes, sorted."""
        return [[*key, votes] for key, votes in sorted(self.votes.items())]

    @classmethod
    def from_json(cls, record: Sequence[Sequence[Any]]) -> DirectionRule:
        """The inverse of `to_json`."""
        return cls({(a, b, kind): votes for a, b, kind, votes in record})


def direction_rule(train: Sequence[Example]) -> DirectionRule:
    """Learn the majority order from annotated training posts.

    Args:
        train: posts with typed entities and directed relations.

    Raises:
        ValueError: a relation's span is no typed entity of its post.
    """
    votes: Counter[Key] = Counter()
    for post in train:
        types = {entity.span: entity.type for entity in post.entities}
        for relation in post.relations:
            if relation.type == NONE:
                continue
            earlier, later = sorted((relation.head, relation.tail))
            earlier_type, later_type = types.get(earlier), types.get(later)
            if earlier_type is None or later_type is None:
                raise ValueError(f"{post.id}: {relation} has a span that is no typed entity")
            votes[earlier_type, later_type, relation.type] += 1 if relation.head == earlier else -1
    return DirectionRule(dict(votes))

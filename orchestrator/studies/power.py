"""Which differences a study can show with its seeds and test sets, before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.store.cell_factory import CellFactory
from orchestrator.studies.config import StudyColumn
from orchestrator.studies.plan import StudyPlan
from orchestrator.studies.tables import counts_of, tested_by
from orchestrator.tables.power import DISCORDANT, SEED_STD, Noise, detectable, power
from shapca.data.schema import NONE
from shapca.errors import InputError

SHARE = 0.8
MORE_SEEDS = (3, 5, 10)


@dataclass(frozen=True)
class Foreseen:
    """What a column can show.

    Attributes:
        column: Its key, or the heading of columns that are pooled.
        num_gold: Gold items of the test sets.
        of_one: By number of seeds, how likely a true difference of 1 F1 point is found.
        detectable: By number of seeds, the difference that four of five studies find.
    """

    column: str
    num_gold: int
    of_one: Mapping[int, float]
    detectable: Mapping[int, float]


def foresee(plan: StudyPlan, factory: CellFactory) -> list[Foreseen]:
    """The power of a study's comparisons, by its seeds and by other numbers of seeds.

    Raises:
        InputError: A data set is not there, or no column compares rows.
    """
    study = plan.study
    groups = {key: (key,) for key in study.columns} | dict(study.pooled)
    numbers = sorted({*MORE_SEEDS, len(study.seeds)} - {1})
    found = []
    for heading, keys in groups.items():
        columns = [study.columns[key] for key in keys]
        if study.reference is None or any(counts_of(column.score) is None for column in columns):
            continue
        gold = [_num_gold(plan, factory, column) for column in columns]
        noise = Noise.assumed(gold)
        found.append(
            Foreseen(
                heading,
                sum(gold),
                {number: power(1.0, noise, number) for number in numbers},
                {number: detectable(noise, number, share=SHARE) for number in numbers},
            )
        )
    if not found:
        raise InputError(f"study {study.name}: nothing is compared; name a row as `reference`")
    return found


def in_words(found: Sequence[Foreseen]) -> list[str]:
    """One line a column, and what was assumed."""
    lines = []
    for item in found:
        parts = [
            f"{number} seeds: {item.detectable[number]:.2f} ({100 * item.of_one[number]:.0f}%)"
            for number in item.detectable
        ]
        lines.append(f"{item.column} ({item.num_gold:,} gold items): {'; '.join(parts)}")
    return [
        f"Difference in F1 that {SHARE:.0%} of studies find at p < 0.05, and in brackets how "
        "many find a true difference of 1.00:",
        *lines,
        f"Assumed: a standard deviation of {SEED_STD:g} F1 over seeds, and {DISCORDANT:.0%} of the "
        "gold items found by one of two systems alone. No correction for several comparisons.",
    ]


def _num_gold(plan: StudyPlan, factory: CellFactory, column: StudyColumn) -> int:
    """Gold items of a column's test split: entities, or relations other than `None`."""
    config = next(config for (_, key), config in plan.configs.items() if key == column.data)
    test = factory.data(tested_by(config, column)).splits["test"]
    if config.task == "mner" or column.score == "entity_f1":
        return sum(len(example.entities) for example in test)
    return sum(relation.type != NONE for example in test for relation in example.relations)

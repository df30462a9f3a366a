"""Scores as the field computes them, in percent, with the counts of every example."""

from shapca.metrics.directions import DirectionRule, direction_rule
from shapca.metrics.entities import entity_scores
from shapca.metrics.evaluation import Evaluation, evaluate_predictions
from shapca.metrics.joint import (
    JointScores,
    directed_scores,
    direction_ceiling,
    joint_scores,
)
from shapca.metrics.relations import relation_scores
from shapca.metrics.scores import Counts, Scores, TypeScores

__all__ = [
    "Counts",
    "DirectionRule",
    "Evaluation",
    "JointScores",
    "Scores",
    "TypeScores",
    "directed_scores",
    "direction_ceiling",
    "direction_rule",
    "entity_scores",
    "evaluate_predictions",
    "joint_scores",
    "relation_scores",
]

"""Scores of a finished run on any split, and how far Algorithm 1 is from exact."""

from typing import TYPE_CHECKING

from shapca.lazy import lazy_names

if TYPE_CHECKING:
    from shapca.evaluation.evaluate import EvaluationRecord as EvaluationRecord
    from shapca.evaluation.evaluate import evaluate_run as evaluate_run
    from shapca.evaluation.evaluate import predict_examples as predict_examples
    from shapca.evaluation.evaluate import stored_evaluation as stored_evaluation

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "EvaluationRecord": ".evaluate",
        "evaluate_run": ".evaluate",
        "predict_examples": ".evaluate",
        "stored_evaluation": ".evaluate",
    },
)

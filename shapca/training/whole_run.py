"""Training of one run in one call."""

from __future__ import annotations

import logging
from collections.abc import Callable

from shapca.config import ExperimentConfig, RuntimeConfig
from shapca.data.prepared import PreparedData
from shapca.runs.epochs import EpochRecord, FitResult
from shapca.storage import ObjectStore, place_name
from shapca.training.learning import StepProgress
from shapca.training.run import Training

logger = logging.getLogger(__name__)


def fit(
    config: ExperimentConfig,
    data: PreparedData,
    *,
    seed: int,
    runtime: RuntimeConfig = RuntimeConfig(),
    store: ObjectStore,
    on_epoch: Callable[[EpochRecord], bool | None] | None = None,
    on_step: Callable[[StepProgress], None] | None = None,
    test: bool = False,
) -> FitResult:
    """Train a run to its end, resuming where its store left off.

    Args:
        config: What to train.
        data: The prepared data set.
        seed: Seed of all that is random.
        runtime: Device, threads and workers.
        store: Where the run keeps what it makes.
        on_epoch: Called after every epoch; returning true stops the run, which can be resumed.
        on_step: Called after every batch.
        test: Evaluate the best weights on the test split, once, where the run finishes.

    Returns:
        How the run ended. A loss that is not finite is a result (`diverged`), not an exception.

    Raises:
        InputError: config and data do not fit, or the store holds another run.
    """
    training = Training(config, data, seed=seed, runtime=runtime, store=store, on_step=on_step)
    if training.history and not training.is_complete:
        logger.info("%s: resuming after epoch %d", place_name(store), len(training.history))
    for record in training.epochs():
        if on_epoch is not None and on_epoch(record):
            break
    return training.finish(test=test)

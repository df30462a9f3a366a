"""Where a run keeps what, by the names of objects in its folder."""

RUN = "run.json"
"""Identity, environments and how the model reads posts."""
RESULT = "result.json"
"""How training ended."""
EPOCHS = "epochs/"
CHECKPOINT = "checkpoint/"
BEST = "best/"
EVALUATIONS = "evaluations/"


def epoch_record(epoch: int) -> str:
    """The immutable record of an epoch."""
    return f"{EPOCHS}{epoch:04d}.json"


def checkpoint_folder(epoch: int) -> str:
    """What continuing after an epoch needs."""
    return f"{CHECKPOINT}{epoch:04d}"


def best_weights(epoch: int) -> str:
    """The weights of the best epoch."""
    return f"{BEST}{epoch:04d}.safetensors"


def best_scores(epoch: int) -> str:
    """Validation scores of the best epoch, with per-example counts."""
    return f"{BEST}{epoch:04d}.json"


def evaluation_record(name: str) -> str:
    """Scores on a split: `valid` and `test` of the run's own data, other ones by a hash."""
    return f"{EVALUATIONS}{name}.json"

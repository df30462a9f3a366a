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
    """The immutable record of an epoch, or those of several up to it."""
    return f"{EPOCHS}{epoch:04d}.json"


def epoch_of(name: str) -> int:
    """The epoch that an object in one of these folders is named after."""
    return int(name.partition("/")[2].partition(".")[0].partition("/")[0])


def checkpoint_of(epoch: int) -> str:
    """What continuing after an epoch needs."""
    return f"{CHECKPOINT}{epoch:04d}.safetensors"


def commits(name: str) -> bool:
    """Whether an object's presence makes a checkpoint whole; state.json is of older versions."""
    return name.startswith(CHECKPOINT) and (
        name.endswith("/state.json") or (name.count("/") == 1 and name.endswith(".safetensors"))
    )


def best_weights(epoch: int) -> str:
    """The weights of the best epoch."""
    return f"{BEST}{epoch:04d}.safetensors"


def evaluation_record(name: str) -> str:
    """Scores on a split: `valid` and `test` of the run's own data, other ones by a hash."""
    return f"{EVALUATIONS}{name}.json"

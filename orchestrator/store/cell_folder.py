"""Where a storage keeps cells and their verdicts, by the names of objects.

cells/<key>/cell.json     identity: config, seed, data parts, weights
cells/<key>/attempt.json  which process works on it
cells/<key>/claim.json    which sweep works on it
cells/<key>/...           what its training writes (`shapca.runs.layout`)
status/<key>.<status>     the verdict as an object's name, so that listing tells it
code/<fingerprint>.json   hash of each definition of the code that worked here
"""

from collections.abc import Sequence

from shapca.runs.layout import BEST, CHECKPOINT, EPOCHS

CELL = "cell.json"
ATTEMPT = "attempt.json"
CLAIM = "claim.json"
PREDICTIONS = "predictions/"
STATUS = "status/"


def cell_folder(key: str) -> str:
    """The folder of a cell."""
    return f"cells/{key}"


def in_cell(key: str, name: str = "") -> str:
    """An object of a cell, or the prefix of them all."""
    return f"cells/{key}/{name}"


def status_of(key: str, status: str) -> str:
    """The object that gives a cell a verdict."""
    return f"{STATUS}{key}.{status}"


def code_of(fingerprint: str) -> str:
    """What code of a fingerprint defines."""
    return f"code/{fingerprint}.json"


def weights_of(names: Sequence[str]) -> list[str]:
    """Those of a cell's objects that are best weights or belong to a checkpoint."""
    return [name for name in names if name.startswith((CHECKPOINT, BEST))]


def of_epochs(names: Sequence[str]) -> list[str]:
    """Those of a cell's objects that are records of epochs."""
    return [name for name in names if name.startswith(EPOCHS)]

"""Where a storage keeps cells and their verdicts, by the names of objects.

cells/<key>/cell.json     identity: config, seed, data parts, weights
cells/<key>/attempt.json  which process works on it
cells/<key>/claim.json    which sweep works on it
cells/<key>/...           what its training writes (`shapca.runs.layout`)
status/<key>.<status>     the verdict as an object's name, so that listing tells it
code/<fingerprint>.json   hash of each definition of the code that worked here
"""

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

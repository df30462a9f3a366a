"""Where a storage keeps sweeps and studies, by the names of objects below `sweeps/<name>/`.

declaration.json            what must not change while the sweep goes on
sweep.json, study.json      the whole file, as run last
events/000001.json …        what was proposed and how it ended, one object an event
packed/100/000001.json …    each hundred of them in one object, and each ten thousand
events.json                 the first n hundred of them, as older versions kept them
lease/000001.json           who works on it
beat/000001.json            its last sign of life
runs/<key>.json             the documents that MLflow is made from
published/<hash of URI>/…   what MLflow has of them
delivery.json               what was packaged for the nodes
forecasts/<milliseconds>.json
report/…, tables/…          pages, tables and figures
"""

from shapca.errors import InputError
from shapca.storage import ObjectStore

DECLARATION = "declaration.json"
SWEEP = "sweep.json"
STUDY = "study.json"
EVENTS = "events/"
PACKED = "packed/"
FORMERLY_PACKED = "events.json"
LEASES = "lease/"
BEATS = "beat/"
RUNS = "runs/"
PUBLISHED = "published"
DELIVERY = "delivery.json"
FORECASTS = "forecasts/"
REPORT = "report/"
TABLES = "tables/"
SWEEPS = "sweeps/"


def sweep_folder(sweep: str) -> str:
    """The folder of a sweep or study."""
    return f"{SWEEPS}{sweep}"


def in_sweep(sweep: str, name: str) -> str:
    """An object of a sweep or study, or the prefix of several."""
    return f"{SWEEPS}{sweep}/{name}"


def numbered(folder: str, number: int) -> str:
    """The object of a number in one of the folders of numbered objects."""
    return f"{folder}{number:06}.json"


def put_own(store: ObjectStore, name: str, content: bytes) -> bool:
    """Write a new object whose content is one writer's alone; whether it is there as written.

    A bucket whose first answer was lost says of the second attempt that the object exists.
    """
    return store.put_new(name, content) or store.get(name) == content


def number_of(name: str) -> int:
    """The number of a numbered object.

    Raises:
        InputError: an object that is none, which somebody put beside them.
    """
    number = name.rpartition("/")[2].removesuffix(".json")
    if not (number.isascii() and number.isdigit() and len(number) < 20):
        raise InputError(f"{name}: expected numbered objects alone there; remove it")
    return int(number)

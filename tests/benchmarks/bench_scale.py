"""Storages of 1,000 and 10,000 finished cells, or $SHAPCA_SCALE_CELLS: what looking at them costs.

Each is a command of its own, start-up included; the sweep is a grid whose cells all have ended, one
of them at a time taken away for planning. Drawing takes longest, so that storages are kept where
$SHAPCA_SCALE_FOLDER is. A bucket is counted in requests, as a stand-in's own time would be in it.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from orchestrator.config.sweep import SweepConfig
from orchestrator.store.cell_factory import CellFactory
from orchestrator.sweeps.record.declaration import declaration, declare, remember
from orchestrator.sweeps.record.event_log import Ended, EventLog, Opened, Proposed, _encode
from orchestrator.tracking.run_document import write_run
from shapca.runs.code import code_fingerprint
from shapca.storage import FolderStore, to_json
from tests.clouds import serve_s3
from tests.factories import tiny_config, tiny_data
from tests.orchestrator.publishing import finished, parent

pytestmark = pytest.mark.bench

SIZES = [int(size) for size in os.environ.get("SHAPCA_SCALE_CELLS", "1000 10000").split()]
LIMITS = {"status": 5.0, "status --json": 8.0, "sweep": 5.0, "report": 10.0, "next": 5.0}
"""CPU seconds of each, whatever the size; the aim is 5, on a machine without other work."""
LIMIT_MIB = 1024
FLATNESS = 1.5
"""What a further cell may cost of many, in times of what it costs of few."""
NOISE_SECONDS = 0.4
"""By which two runs of one command may differ on a machine that has other work."""
BUCKET_SIZES = (1000, 10_000)
Spent = dict[str, tuple[float, float]]
"""CPU seconds and MiB of each."""
Looked = tuple[tuple[float, float], str]
LAUNCH = """
import json, os, sys
pid = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, *sys.argv[1:]])
_, status, used = os.wait4(pid, 0)
print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]), file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""Between: a process begins with the peak of the one that starts it, which may be large."""
NEXT = """
import sys
from pathlib import Path
from orchestrator.config.sweep import SweepConfig
from orchestrator.store.cell_factory import CellFactory
from orchestrator.sweeps.record.event_log import EventLog
from orchestrator.sweeps.record.history import History
from orchestrator.sweeps.record.reading import reading
from shapca.storage import FolderStore
with reading():
    log = EventLog.load(FolderStore(sys.argv[1]), "many")
    del log.events[-2:]  # one configuration is still to be tried
    history = History(SweepConfig.load(sys.argv[2]), log, CellFactory(Path(sys.argv[3])))
print(history.protocol.propose().number)
"""


def sweep_file(folder: Path, num_cells: int, protocol: str) -> Path:
    experiment = tiny_config(**{"image.encoder": "none"})
    axis = {"type": "float", "low": 1e-5, "high": 1e-2}
    tree = {
        "name": "many",
        "experiment": experiment.model_dump(mode="json", exclude_defaults=True),
        "space": {
            "optimisation.learning_rate": {**axis, "num": 100},
            "optimisation.encoder_learning_rate": {**axis, "num": num_cells // 100},
        },
        "protocol": {"kind": protocol, "sampler": "grid", "trials": num_cells},
        "scheduler": {"kind": "none"},
    }
    path = folder / "many.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


def fill(store: FolderStore, sweep: SweepConfig, factory: CellFactory) -> None:
    """Records as a finished sweep leaves them, written without syncing the disk each time."""
    code = code_fingerprint()
    declare(store, sweep.name, declaration(sweep, factory))
    remember(store, sweep)
    write_run(store, sweep.name, finished(parent(), metrics={}))
    for folder in ("status", f"sweeps/{sweep.name}/events", f"sweeps/{sweep.name}/runs"):
        (store.root / folder).mkdir(parents=True, exist_ok=True)
    document = to_json({"key": "search-x", "status": "finished"})
    log = EventLog(store, sweep.name, [Opened(1.0, "driver", code)])
    for number, values in enumerate(sweep.grid(), start=1):
        cell = factory.cell(sweep.resolve(values), 1)
        at = 1.0 + number
        value = 50.0 + number % 40
        proposed = Proposed(
            number, "search", number, dict(values), 1, cell.configuration, cell=cell.key, at=at
        )
        ended = Ended(
            "finished", value, 2, number=number, at=at, best_epoch=2, trained=2, seconds=1.0,
            codes=[code], curve=[value - 1, value],
        )  # fmt: skip
        log.events += [proposed, ended]
        summary = {"value": value, "best_epoch": 2, "epochs": 2, "codes": [code], "sweep": "many"}
        (store.root / f"status/{cell.key}.finished").write_bytes(to_json(summary))
        folder = store.root / "cells" / cell.key
        folder.mkdir(parents=True)
        (folder / "cell.json").write_bytes(to_json(cell.to_json()))
        (store.root / f"sweeps/{sweep.name}/runs/search-{cell.key}.json").write_bytes(document)
    for number, event in enumerate(log.events, start=1):
        name = f"sweeps/{sweep.name}/events/{number:06}.json"
        (store.root / name).write_bytes(to_json(_encode(event)))
    log._pack()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, str], Path]:
    """The folder of a size and a protocol: `many.yaml`, `data/` and `storage/`."""
    kept = os.environ.get("SHAPCA_SCALE_FOLDER")
    root = Path(kept) if kept else tmp_path_factory.mktemp("scale")

    def draw(num_cells: int, protocol: str) -> Path:
        folder = root / protocol / str(num_cells)
        if not (folder / "drawn").is_file():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            data_root = tiny_data(folder / "data").folder.parent
            sweep = SweepConfig.load(sweep_file(folder, num_cells, protocol))
            fill(FolderStore(folder / "storage"), sweep, CellFactory(data_root))
            (folder / "drawn").touch()
        return folder

    return draw


def run(*arguments: object, start: tuple[str, str] = ("-m", "orchestrator")) -> Looked:
    """A command: CPU seconds, since the machine may be shared, its peak MiB, what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", LAUNCH, *start, *map(str, arguments)],
        check=True,
        capture_output=True,
        text=True,
    )
    seconds, mib = json.loads(done.stderr.splitlines()[-1])
    return (seconds, mib), done.stdout


def looked_at(folder: Path, num_cells: int, protocol: str) -> Spent:
    """What each look at a storage takes; a sweep that would train is not given again."""
    storage, data_root = folder / "storage", folder / "data"
    to = ("--storage", storage)
    spent: Spent = {}
    spent["status"], answer = run("status", "many", *to)
    assert f"search {num_cells}/{num_cells}" in answer
    spent["status --json"], answer = run("status", "many", *to, "--json")
    assert len(json.loads(answer)["configurations"]) == num_cells
    if protocol == "single":
        spent["sweep"], answer = run(
            "sweep", folder / "many.yaml", *to, "--data-root", data_root, "--tracking-uri=none",
            "--accept-stale",
        )  # fmt: skip
        assert "many" in answer
    spent["report"], _ = run("report", "many", *to, "--no-figures", "--tracking-uri=none")
    lines = (storage / "sweeps/many/report/trials.csv").read_text("utf-8").splitlines()
    assert len(lines) == num_cells + 1
    place = folder / "many.yaml"
    spent["next"], answer = run(storage, place, data_root, start=("-c", NEXT))
    assert answer.strip() == str(num_cells)
    return spent


@pytest.mark.parametrize("protocol", ["single", "confirm"])
def test_cells_are_seen_in_seconds_and_each_costs_the_same(
    drawn: Callable[[int, str], Path], protocol: str
) -> None:
    spent = {}
    for num_cells in SIZES:
        spent[num_cells] = looked_at(drawn(num_cells, protocol), num_cells, protocol)
        shown = ", ".join(
            f"{what} {seconds:.1f} s and {mib:.0f} MiB"
            for what, (seconds, mib) in spent[num_cells].items()
        )
        print(f"\n{num_cells:,} cells, {protocol}, CPU time: {shown}")
    for of in spent.values():
        assert all(seconds < LIMITS[what] for what, (seconds, _) in of.items())
        assert all(mib < LIMIT_MIB for _, mib in of.values())
    for what in spent[SIZES[0]]:
        slopes = [
            (spent[larger][what][0] - spent[smaller][what][0], larger - smaller)
            for smaller, larger in itertools.pairwise(SIZES)
        ]
        shown = ", ".join(f"{1e6 * seconds / cells:.0f}" for seconds, cells in slopes)
        print(f"{what}: {shown} µs a further cell")
        for (few, num_few), (many, num_many) in itertools.pairwise(slopes):
            at_most = FLATNESS * max(0.0, few + NOISE_SECONDS) / num_few
            assert many / num_many < at_most


def test_ten_times_the_cells_are_no_more_requests_to_a_bucket(
    drawn: Callable[[int, str], Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    models = pytest.importorskip("moto.s3.models")
    asked: dict[int, dict[str, int]] = {}
    with serve_s3() as address:
        for name, value in {
            "AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        backend = models.s3_backends["123456789012"]["aws"]
        for num_cells in BUCKET_SIZES:
            folder, bucket = drawn(num_cells, "single"), f"cells-{num_cells}"
            backend.create_bucket(bucket, "us-east-1")
            root = folder / "storage"
            for path in root.rglob("*.json"):
                name = path.relative_to(root).as_posix()
                backend.put_object(bucket, name, path.read_bytes())
            asked[num_cells] = {}
            to = ("--storage", f"s3://{bucket}")
            for what, arguments in {
                "status": ("status", "many"),
                "report": ("report", "many", "--no-figures", "--tracking-uri=none"),
                "sweep": ("sweep", folder / "many.yaml", "--data-root", folder / "data",
                          "--tracking-uri=none", "--accept-stale"),
                "list": ("list",),
            }.items():  # fmt: skip
                caplog.clear()
                with caplog.at_level("INFO", logger="werkzeug"):
                    run(*arguments, *to)
                asked[num_cells][what] = len(caplog.records)
            print(f"\n{num_cells:,} cells in a bucket, requests: {asked[num_cells]}")
    few, many = (asked[num_cells] for num_cells in BUCKET_SIZES)
    # A pack more is a request more, of ten thousand events.
    assert all(many[what] <= few[what] + 10 for what in few)

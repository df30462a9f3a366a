"""What users and systems set in the environment changes no result, and nothing that is told."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

from orchestrator.store.cells import CellStore
from orchestrator.tracking.client.addresses import resolve_tracking
from shapca.storage import FolderStore
from tests.factories import tiny_config, tiny_data
from tests.orchestrator.publishing import runs
from tests.paths import ROOT

NOWHERE, NOBODY = "/proc/nowhere", "http://127.0.0.1:9"
ENVIRONMENTS: dict[str, dict[str, str]] = {
    "asynchronous": {"MLFLOW_ENABLE_ASYNC_LOGGING": "true"},
    "retries": {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "7", "MLFLOW_HTTP_REQUEST_TIMEOUT": "500"},
    "other-run": {"MLFLOW_RUN_ID": "0" * 32, "MLFLOW_EXPERIMENT_NAME": "other"},
    "cut": {"MLFLOW_TRUNCATE_LONG_VALUES": "false", "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "true"},
    "local": {"RAY_ADDRESS": "local"},
    "LOCAL": {"RAY_ADDRESS": " LOCAL "},
    "no-token": {"RAY_AUTH_MODE": "disabled"},
    "own-token": {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": NOWHERE},
    "metrics": {"RAY_enable_metrics_collection": "1", "DASHBOARD_METRIC_PORT": "44227"},
    "folders": {
        "RAY_TMPDIR": NOWHERE,
        "TUNE_RESULT_DIR": NOWHERE,
        "RAY_STORAGE": NOWHERE,
        "RAY_AIR_LOCAL_CACHE_DIR": NOWHERE,
    },
    "tune": {"TUNE_GLOBAL_CHECKPOINT_S": "1", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "0"},
    "proxies": dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY"), NOBODY),
    "grpc-proxy": {"grpc_proxy": NOBODY, "GRPC_PROXY": NOBODY},
    "ascii": {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"},
    "hub": {"HF_HUB_OFFLINE": "0", "HF_HOME": NOWHERE, "HF_ENDPOINT": NOBODY},
    "no-home": {"HOME": NOWHERE, "XDG_CACHE_HOME": NOWHERE, "MPLCONFIGDIR": NOWHERE},
    "terminal": {"TERM": "dumb", "COLUMNS": "20", "FORCE_COLOR": "1"},
    "threads": {"OMP_NUM_THREADS": "7", "MKL_NUM_THREADS": "5"},
    "seed": {"PYTHONHASHSEED": "12345", "TZ": "Pacific/Kiritimati"},
    "no-devices": {"CUDA_VISIBLE_DEVICES": "", "TMPDIR": "/nowhere/" + "x" * 80},
}


def outcome(folder: Path, *before: str, **environment: str) -> tuple[int, str]:
    """Exit code of a sweep of one trial, which MLflow shows as finished, and its weights' hash.

    Args:
        folder: For its data and its storage.
        before: What the command is run by.
        environment: Variables that are set.
    """
    tiny_data(folder / "data", num_train=12, num_valid=6, num_test=6)
    experiment = tiny_config(**{"image.encoder": "none", "optimisation.epochs": 1})
    tree = {
        "name": "tiny",
        "experiment": experiment.model_dump(mode="json", exclude_defaults=True),
        "space": {"optimisation.learning_rate": {"type": "choice", "values": [5e-3]}},
        "protocol": {"kind": "single", "sampler": "grid", "trials": 1},
        "scheduler": {"kind": "none"},
        "runtime": {"num_threads": 1},
    }
    space = folder / "tiny.yaml"
    space.write_text(yaml.safe_dump(tree), encoding="utf-8")
    command = [sys.executable, "-m", "orchestrator", "sweep", str(space), "--storage", "storage"]
    done = subprocess.run(
        [*before, *command], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True, timeout=300,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr  # 1: one epoch may end with a score of 0
    assert b"Traceback" not in done.stderr
    store = FolderStore(folder / "storage")
    (key,) = CellStore(store).statuses()
    found = CellStore(store).weights(key)
    assert found
    shown = runs(resolve_tracking(None, str(store.root)), "tiny")
    assert [run.info.status for run in shown.values()] == ["FINISHED", "FINISHED"]
    assert all(run.data.metrics for run in shown.values() if "cell" in run.data.tags)
    weights = b"".join(store.get(name) or b"" for name in found)
    return done.returncode, hashlib.sha256(weights).hexdigest()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str]:
    return outcome(tmp_path_factory.mktemp("plain"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_environment_changes_nothing(name: str, plain: tuple[int, str], tmp_path: Path) -> None:
    assert outcome(tmp_path, **ENVIRONMENTS[name]) == plain


NO_PRIVILEGES = "-dac_override,-dac_read_search,-fowner"


@pytest.mark.slow
@pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("setpriv") is None, reason="gives a folder to another user"
)
def test_rays_folder_of_another_user_is_in_nobodys_way(
    plain: tuple[int, str], tmp_path: Path
) -> None:
    place = Path(tempfile.mkdtemp(dir="/tmp", prefix="k-"))  # short enough for Ray's sockets
    (place / "ray").mkdir(mode=0o700)
    os.chown(place / "ray", 12345, 12345)
    lesser = ("setpriv", f"--bounding-set={NO_PRIVILEGES}", f"--inh-caps={NO_PRIVILEGES}")
    assert outcome(tmp_path, *lesser, TMPDIR=str(place)) == plain
    kept = [name for name in os.listdir(place) if not name.startswith("torchinductor_")]
    assert kept == ["ray"]
    shutil.rmtree(place)

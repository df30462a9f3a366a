"""The files that ship for clusters: Ray's own checks of them, and scripts run as they will be."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.paths import ROOT

FOLDER = Path(str(files("orchestrator") / "cluster" / "deploy"))
CLUSTERS = sorted(path.name for path in FOLDER.glob("*.yaml"))


def test_both_kinds_of_cluster_ship() -> None:
    assert CLUSTERS == ["aws.yaml", "on_premise.yaml"]


@pytest.mark.parametrize("name", CLUSTERS)
def test_ray_accepts_a_cluster_file(name: str) -> None:
    config = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    filled = prepare_config(copy.deepcopy(config))  # as `ray up` does before it asks the provider
    validate_config(filled)
    assert filled["head_node_type"] in filled["available_node_types"]
    with pytest.raises(jsonschema.ValidationError, match="not_a_key"):
        validate_config(prepare_config({**config, "not_a_key": 1}))


@pytest.mark.parametrize("name", CLUSTERS)
def test_what_a_cluster_file_sends_and_opens(name: str) -> None:
    config = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    for here in config["file_mounts"].values():
        assert here.startswith("~") or (ROOT / here).exists()
    assert {".git", ".venv", ".env", "data", "storage"} <= set(config["rsync_exclude"])
    for command in config["head_start_ray_commands"] + config["worker_start_ray_commands"]:
        if " start " in command:
            assert "RAY_AUTH_MODE=token" in command
            assert "--dashboard-host=0.0.0.0" not in command
    assert any("requirements.lock" in command for command in config["setup_commands"])


def recorder(folder: Path, name: str, body: str = "") -> None:
    """A command of this name that notes how it was called."""
    path = folder / name
    path.write_text(f'#!/bin/bash\necho "{name} $*" >> "$CALLS"\n{body}\n', encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """An allocation of three nodes whose commands only note how they were called."""
    venv = tmp_path / "venv" / "bin"
    venv.mkdir(parents=True)
    recorder(venv, "scontrol", "printf 'n1\\nn2\\nn3\\n'")
    recorder(
        venv,
        "srun",
        'while [[ $1 == --* ]]; do shift; done\nexec "$@"',
    )
    recorder(
        venv, "ray", 'cat "$RAY_AUTH_TOKEN_PATH" >> "$CALLS.token"\nexec sleep 5 > /dev/null 2>&1'
    )
    three = 'until [ "$(cat "$CALLS.token" | wc -c)" = 192 ]; do sleep 0.1; done'
    recorder(venv, "python", three)
    recorder(venv, "orchestrator", 'exit "${SWEEP_EXIT:-0}"')
    return {
        "PATH": f"{venv}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "CALLS": str(tmp_path / "calls"),
        "SHAPCA_VENV": str(venv.parent),
        "SLURM_JOB_ID": "12",
        "SLURM_JOB_NODELIST": "n[1-3]",
        "SLURM_CPUS_PER_TASK": "8",
        "SLURM_GPUS_ON_NODE": "2",
    }


@pytest.mark.parametrize("code", [0, 3])
def test_the_slurm_script_starts_a_cluster_and_a_sweep(
    slurm: dict[str, str], tmp_path: Path, code: int
) -> None:
    done = subprocess.run(
        ["bash", str(FOLDER / "slurm.sh"), "space.yaml", "--storage", "/shared"],
        env={**slurm, "SWEEP_EXIT": str(code)},
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )
    assert done.returncode == code, done.stderr
    calls = Path(slurm["CALLS"]).read_text().splitlines()
    starts = [call for call in calls if call.startswith("ray start")]
    assert len(starts) == 3
    assert sum("--head" in call for call in starts) == 1
    assert sum("--address=n1:20012" in call for call in starts) == 2
    assert all("--num-cpus=8 --num-gpus=2" in call for call in starts)
    assert all("--dashboard-host=127.0.0.1" in call for call in starts if "--head" in call)
    assert {call.split("--nodelist=")[1].split()[0] for call in calls if call[:4] == "srun"} == {
        "n1", "n2", "n3",
    }  # fmt: skip
    assert "python -m orchestrator.cluster.deploy.wait n1:20012 3" in calls
    assert calls[-1] == "orchestrator sweep space.yaml --storage /shared --address n1:20012"
    # One token for all, which nobody finds afterwards.
    tokens = Path(f"{slurm['CALLS']}.token").read_text()
    assert len(tokens) == 3 * 64
    assert tokens == tokens[:64] * 3
    assert not list(tmp_path.glob(".shap-ca-token*"))


def test_the_slurm_script_is_sound(tmp_path: Path) -> None:
    script = FOLDER / "slurm.sh"
    subprocess.run(["bash", "-n", str(script)], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", str(script)], check=True)
    asked = subprocess.run(["bash", str(script)], capture_output=True, text=True, check=False)
    assert asked.returncode == 2
    assert "expected the sweep's file" in asked.stderr
    lines = script.read_text().splitlines()
    directives = [line for line in lines if line.startswith("#SBATCH")]
    first_command = next(i for i, line in enumerate(lines) if line and line[0] != "#")
    assert len(directives) == sum(line.startswith("#SBATCH") for line in lines[:first_command])

"""Whether a sweep can run: each thing found or not, each failure with its remedy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
import yaml

from orchestrator.config.sweep import SweepConfig
from orchestrator.sweeps.checks import doctor
from orchestrator.sweeps.checks.doctor import Finding
from shapca.data.prepared import PreparedData
from tests.factories import tiny_config
from tests.orchestrator.servers import free_port


def levels(findings: Any) -> list[str]:
    return [finding.level for finding in findings]


def sweep_of(**overrides: Any) -> SweepConfig:
    experiment = tiny_config(**{"image.encoder": "none", **overrides})
    return SweepConfig.model_validate(
        {
            "name": "looked-at",
            "experiment": experiment.model_dump(mode="json", exclude_defaults=True),
            "space": {"optimisation.learning_rate": {"type": "choice", "values": [5e-3, 1e-3]}},
        }
    )


def test_a_python_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert levels(doctor.examine_versions()) == ["ok"]
    monkeypatch.setattr(doctor.sys, "version_info", (3, 9, 0))
    [finding] = doctor.examine_versions()
    assert finding.level == "fail"
    assert finding.remedy == "use Python 3.11 to 3.13"


def test_storage_is_written_and_its_permissions_are_looked_at(tmp_path: Path) -> None:
    place = tmp_path / "storage"
    assert levels(doctor.examine_storage(str(place))) == ["ok"]
    assert not place.exists()  # it is looked at, not made
    place.mkdir(mode=0o700)
    assert levels(doctor.examine_storage(str(place))) == ["ok"]
    assert not list(place.rglob("*.json"))  # nothing is left behind
    place.chmod(0o755)
    assert levels(doctor.examine_storage(str(place))) == ["ok", "warn"]
    (tmp_path / "file").write_text("")
    [finding] = doctor.examine_storage(str(tmp_path / "file"))
    assert finding.level == "fail"
    assert "--storage" in finding.remedy
    [finding] = doctor.examine_storage(str(tmp_path / "file" / "storage"))
    assert finding.level == "fail"
    assert f"cannot be made in {tmp_path / 'file'}" in finding.message


def test_a_tracking_server_that_does_not_answer_is_named_without_credentials() -> None:
    [finding] = doctor.examine_tracking(f"http://somebody:secret@127.0.0.1:{free_port()}")
    assert finding.level == "fail"
    assert "secret" not in str(finding)
    assert "orchestrator sync" in finding.remedy


def test_a_tracking_store_that_answers(mlflow_uri: str, tmp_path: Path) -> None:
    assert levels(doctor.examine_tracking(mlflow_uri)) == ["ok"]
    absent = tmp_path / "absent.db"
    assert levels(doctor.examine_tracking(f"sqlite:///{absent}")) == ["ok"]
    assert not absent.exists()


def test_data_are_checked_against_their_hashes(tiny_mner: PreparedData, tmp_path: Path) -> None:
    shutil.copytree(tiny_mner.folder, tmp_path / "tiny-mner")
    sweep = sweep_of()
    assert levels(doctor.examine_data(sweep, tmp_path)) == ["ok"]
    contexts = tmp_path / "tiny-mner" / "contexts" / "captions.jsonl"
    contexts.write_text(contexts.read_text() + "\n")
    [finding] = doctor.examine_data(sweep, tmp_path)
    assert finding.level == "fail"
    assert "changed since it was prepared" in finding.message
    [finding] = doctor.examine_data(sweep, tmp_path / "elsewhere")
    assert "shapca data prepare" in finding.message
    folder = tmp_path / "elsewhere" / "tiny-mner"
    assert (
        finding.remedy
        == f"shapca data prepare tiny-mner --format jsonl --source FILE --out {folder}"
    )


def test_all_that_a_data_set_lacks_is_said_at_once(tiny_mner: PreparedData, tmp_path: Path) -> None:
    shutil.copytree(tiny_mner.folder, tmp_path / "tiny-mner")
    folder = tmp_path / "tiny-mner"
    manifest = json.loads((folder / "manifest.json").read_text())
    parts = manifest["parts"]
    parts = {name: value for name, value in parts.items() if not name.startswith("images")}
    (folder / "manifest.json").write_text(json.dumps({**manifest, "parts": parts}))
    lacking = {"image.encoder": "resnet18", "data.contexts": "blip2", "image.weights": "random"}
    contexts, images = doctor.examine_data(sweep_of(**lacking), tmp_path)
    assert "no context set 'blip2'" in contexts.message
    assert contexts.remedy == (
        f"shapca contexts generate --data {folder} --images IMAGES --generator GENERATOR "
        "--out contexts.jsonl --import blip2"
    )
    assert "prepared without images" in images.message
    assert images.remedy == (
        f"shapca data prepare tiny-mner --source DIR --images IMAGES --out {folder} --overwrite"
    )
    other = sweep_of(**{"task": "mre", "fusion.kind": "none", "data.dataset": "tiny-mner"})
    [finding] = doctor.examine_data(other, tmp_path)
    assert finding.remedy == "--set experiment.task=mner"


def test_synthetic_data_are_not_drawn_to_be_looked_at(tmp_path: Path) -> None:
    [finding] = doctor.examine_data(sweep_of(**{"data.dataset": "synthetic"}), tmp_path)
    assert finding.level == "ok"
    assert f"will be drawn by the first sweep in {tmp_path / 'synthetic'}" in finding.message
    [finding] = doctor.examine_data(sweep_of(**{"data.dataset": "synthetic-mars"}), tmp_path)
    assert finding.level == "fail"
    assert "expected synthetic, optionally with" in finding.message
    assert not list(tmp_path.iterdir())


def test_weights_are_looked_for_without_asking_a_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    def ask(*arguments: Any, **named: Any) -> Any:
        if not named.get("local_files_only"):
            raise AssertionError("a hub was asked")
        raise OSError("not in the cache")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", ask)
    monkeypatch.setattr(huggingface_hub, "model_info", ask)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", ask)
    assert levels(doctor.examine_weights(sweep_of(), ask_hub=False)) == ["ok"]
    hub = sweep_of(**{"text.encoder": "some/bert"})
    [finding] = doctor.examine_weights(hub, ask_hub=False)
    assert finding.level == "warn"
    assert "--ask-hub" in finding.remedy
    local = sweep_of(**{"text.encoder": str(tmp_path / "bert")})
    [finding] = doctor.examine_weights(local, ask_hub=False)
    assert finding.level == "fail"
    with pytest.raises(AssertionError, match="a hub was asked"):
        list(doctor.examine_weights(hub, ask_hub=True))


def test_room_for_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = sweep_of()
    cost = doctor.largest_model(sweep)
    assert cost.checkpoint_bytes == 3 * cost.best_bytes > 10_000
    assert levels(doctor.examine_disk(sweep, str(tmp_path), 2)) == ["ok"]
    full = SimpleNamespace(free=2 * cost.best_bytes)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: full)
    [finding] = doctor.examine_disk(sweep, str(tmp_path), 2)
    assert finding.level == "fail"
    assert "keep_models" in finding.remedy


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    from orchestrator.cli import app

    try:
        code = app(args=["doctor", *map(str, arguments)], standalone_mode=False)
    except typer.Exit as end:
        code = end.exit_code
    return code or 0, capsys.readouterr().out


def test_the_command(tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space = tmp_path / "space.yaml"
    tree = sweep_of().model_dump(mode="json", exclude_unset=True)
    space.write_text(yaml.safe_dump(tree), encoding="utf-8")
    where = ["--storage", tmp_path / "storage", "--tracking-uri", "none"]
    code, out = run(capsys, space, *where, "--data-root", tiny_root, "--json")
    findings = [Finding(**record) for record in json.loads(out)]
    assert code == 0, out
    assert {finding.subject for finding in findings} == {
        "versions", "spaCy model", "storage", "ray", "resources", "tracking", "data", "weights",
        "disk",
    }  # fmt: skip
    assert [finding for finding in findings if finding.level != "ok"] == []
    assert not (tmp_path / "storage").exists()

    code, out = run(capsys, space, *where, "--data-root", tmp_path, "--set", "resources.gpu=64")
    assert code == 1
    failures = [line for line in out.splitlines() if line.startswith("FAIL")]
    assert [line.split()[1] for line in failures] == ["resources:", "data:"]
    assert out.count("      → ") >= len(failures)


def test_a_training_file_is_looked_at_as_well(
    tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run.yaml"
    tree = tiny_config(**{"image.encoder": "none"}).model_dump(mode="json", exclude_defaults=True)
    file.write_text(yaml.safe_dump({**tree, "runtime": {"num_threads": 1}}), encoding="utf-8")
    where = ["--storage", tmp_path / "storage", "--tracking-uri", "none"]
    code, out = run(capsys, file, *where, "--data-root", tiny_root)
    assert code == 0, out
    assert "data: tiny-mner with captions contexts: all hashes match" in out
    code, out = run(capsys, file, *where, "--data-root", tmp_path)
    assert code == 1
    assert "→ shapca data prepare tiny-mner" in out


def test_a_wrong_file_is_one_finding_among_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("name: wrong\nspaec: {}\nresources: {cpu: -1}\n", encoding="utf-8")
    where = ["--storage", file / "inside", "--tracking-uri", "none"]
    code, out = run(capsys, file, *where, "--json")
    failed = [Finding(**record) for record in json.loads(out) if record["level"] == "fail"]
    assert code == 1
    assert [finding.subject for finding in failed] == ["file", "storage"]
    assert "spaec: unknown key" in failed[0].message
    assert "resources.cpu" in failed[0].message


def test_a_cluster_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    def refuse(**settings: Any) -> None:
        raise ConnectionError("nothing answers")

    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    arguments = ["--storage", tmp_path, "--tracking-uri", "none", "--address", "127.0.0.1:1"]
    code, out = run(capsys, *arguments)
    assert code == 1
    assert "FAIL  ray: Ray at 127.0.0.1:1 cannot be used: nothing answers" in out
    assert "RAY_AUTH_TOKEN_PATH" in out


def test_a_database_of_another_version_is_to_be_upgraded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestrator.tracking.client.client import Tracking, TrackingUnavailableError

    def refuse(self: Tracking) -> None:
        raise TrackingUnavailableError("Detected out-of-date database schema (found version x)")

    (tmp_path / "my mlflow.db").touch()
    monkeypatch.setattr(Tracking, "check", refuse)
    (finding,) = doctor.examine_tracking(f"sqlite:///{tmp_path}/my mlflow.db")
    assert finding.level == "fail"
    assert finding.remedy == (
        f"back the database up, then: mlflow db upgrade 'sqlite:///{tmp_path}/my mlflow.db'"
    )


def test_a_machine_without_a_place_for_rays_sockets_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestrator.cluster import scratch
    from orchestrator.sweeps.checks.doctor_cluster import examine_machine

    long = tmp_path / ("x" * 60)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    findings = list(examine_machine(None))
    assert levels(findings) == ["ok", "ok"]
    assert findings[0].message.endswith("a Ray of its own, in /tmp")
    monkeypatch.setattr(scratch, "PLACES", ("/nowhere",))
    findings = list(examine_machine(None))
    assert levels(findings) == ["fail", "ok"]
    assert f"none of {long}, /nowhere can be written" in findings[0].message

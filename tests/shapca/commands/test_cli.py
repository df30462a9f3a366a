"""The command line: exit codes, pure JSON, resuming, interruption, start-up."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from shapca.cli import COMMANDS, app, run_application
from shapca.data.prepared import PreparedData
from shapca.runs.run_folder import held_run_folder
from shapca.storage.objects import TEMPORARY
from shapca.training.learning import Learner
from tests.factories import tiny_config
from tests.shapca.evaluation.test_evaluate import with_renamed_type

SCRIPT = [sys.executable, "-m", "shapca"]


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """A training file of the smallest model."""
    config = tiny_config(**{"image.encoder": "none", "optimisation.epochs": 2})
    tree = config.model_dump(mode="json", exclude_defaults=True)
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump({**tree, "runtime": {"device": "cpu", "num_threads": 1}}))
    return file


@pytest.fixture(scope="module")
def run_folder(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, not tested."""
    folder = tmp_path_factory.mktemp("runs")
    config = tiny_config(**{"image.encoder": "none", "optimisation.epochs": 1})
    file = folder / "small.yaml"
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    with pytest.raises(SystemExit) as ended:
        run_application(app, ["train", str(file), "--data-root", str(tiny_root), "--no-test",
                              "--out", str(folder / "run")])  # fmt: skip
    assert ended.value.code == 0
    return folder / "run"


def call(*arguments: Any) -> int:
    """Run the command line in this process; its exit code."""
    with pytest.raises(SystemExit) as ended:
        run_application(app, [str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def test_start_up_imports_nothing_heavy() -> None:
    code = (
        "import sys, shapca.cli\n"
        "from shapca.cli import app, run_application\n"
        "try: run_application(app, ['--help'])\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "heavy = {'torch', 'transformers', 'spacy', 'torchvision', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for command in COMMANDS:
        assert command in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(command, "--help") == 0
    shown = capsys.readouterr().out
    assert "Usage:" in shown
    assert f" {command} " in shown


def test_python_m_is_the_same_program() -> None:
    done = subprocess.run([*SCRIPT, "nonsense"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "nonsense" in done.stderr


def test_train_shows_progress_and_ends_with_the_scores(
    config_file: Path, tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    command = ("train", config_file, "--data-root", tiny_root, "--out", out, "--seed", 3)
    assert call(*command) == 0
    shown = capsys.readouterr()
    assert "epoch 1 of 2: loss" in shown.err
    assert "posts/s" in shown.err
    assert "left" in shown.err
    assert "finished: all 2 epochs trained" in shown.out
    assert "strict_f1" in shown.out
    assert json.loads((out / "run.json").read_text())["identity"]["seed"] == 3
    assert (out / "evaluations/test.json").exists()
    # Again: the stored result, no training.
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert call(*command) == 0
    again = capsys.readouterr()
    assert again.out == shown.out
    assert "epoch" not in again.err
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_what_became_of_the_input_is_reported(
    config_file: Path, tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", config_file, "--data-root", tiny_root, "--out", tmp_path / "run"]
    command += ["--set", "text.max_length=8", "--set", "alignment.temperature=0.5"]
    command += ["--set", "alignment.negatives=sum"]
    assert call(*command, "--no-test") == 0
    shown = capsys.readouterr().err
    assert "train: 24 posts, of which " in shown
    assert "cut texts" in shown
    assert "warning: alignment.temperature 0.5" in shown


def test_what_became_of_evaluated_posts_is_reported_on_stderr(
    config_file: Path, tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, data = tmp_path / "run", tiny_root / "tiny-mner"
    command = ["train", config_file, "--data-root", tiny_root, "--out", out, "--no-test"]
    assert call(*command, "--set", "text.max_length=8", "--set", "data.train_limit=9") == 0
    capsys.readouterr()
    for command, num_posts in (
        (["evaluate", out, "--data", data], 12),
        (["evaluate", out, "--data", data, "--split", "train"], 24),
        (["shapley-report", out, "--data", data, "--split", "train", "--batches", "1"], 24),
    ):
        assert call(*command, "--json") == 0
        shown = capsys.readouterr()
        json.loads(shown.out)
        split = "train" if "train" in command else "test"
        assert f"{split}: {num_posts} posts, of which " in shown.err
        assert "cut contexts" in shown.err
    assert call("predict", out, "--text", "one two three four five six seven eight nine") == 0
    assert "warning: " in capsys.readouterr().err


def test_train_as_json_prints_json_alone(
    config_file: Path, tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert call("train", config_file, "--data-root", tiny_root, "--out", out, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["status"] == "finished"
    assert record["run"] == str(out)
    stored = json.loads((out / "evaluations/test.json").read_text())
    assert record["test_metrics"] == stored["metrics"]


def test_train_without_test_does_not_touch_the_test_split(run_folder: Path) -> None:
    assert (run_folder / "result.json").exists()
    assert not (run_folder / "evaluations/test.json").exists()


def test_overrides_change_the_run(config_file: Path, tiny_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert call("train", config_file, "--data-root", tiny_root, "--out", out, "--no-test",
                "--set", "optimisation.epochs=1", "--set", "head.dropout=0.3") == 0  # fmt: skip
    config = json.loads((out / "run.json").read_text())["config"]
    assert (config["optimisation"]["epochs"], config["head"]["dropout"]) == (1, 0.3)


def test_an_interrupted_run_says_how_to_go_on_and_does(
    config_file: Path,
    tiny_root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "run"
    command = ("train", config_file, "--data-root", tiny_root, "--out", out)
    original = Learner.train_epoch

    def interrupted(self: Learner, epoch: int, on_step: Any) -> Any:
        if epoch == 2:
            raise KeyboardInterrupt
        return original(self, epoch, on_step)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "train_epoch", interrupted)
        assert call(*command) == 130
    shown = capsys.readouterr().err
    assert f"1 epoch kept in {out}: run the same command again to resume" in shown
    assert "Traceback" not in shown
    assert call(*command) == 0
    shown = capsys.readouterr().err
    assert f"{out}: resuming after epoch 1" in shown
    assert "epoch 1 of 2" not in shown
    assert "epoch 2 of 2" in shown


def test_ctrl_c_ends_the_process_cleanly(
    config_file: Path, tiny_root: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    process = subprocess.Popen(
        [*SCRIPT, "train", str(config_file), "--data-root", str(tiny_root), "--out", str(out),
         "--set", "optimisation.epochs=1000", "--set", "optimisation.patience=1000"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while not (out / "epochs/0001.json").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert "run the same command again to resume" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "optimisation.epoch=3"], "optimisation.epoch: unknown key"),
        (["--set", "alignment.temperature=0.001"], "alignment.temperature: "),
        (["--set", "nonsense"], "--set nonsense: expected key=value"),
        (["--data-root", "nowhere"], "nowhere"),
        (["--set", "data.contexts=other"], "no context set 'other'"),
        (["--set", "runtime.device=tpu9"], "runtime.device: 'tpu9'"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(
    config_file: Path,
    tiny_root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    out = tmp_path / "run"
    command = ["train", config_file, "--out", out, "--data-root", tiny_root, *arguments]
    assert call(*command) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ")
    assert message in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""
    assert not out.exists()


@pytest.mark.parametrize("below", ["", "/run"])
def test_a_file_is_no_folder_for_a_run(
    config_file: Path,
    tiny_root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    below: str,
) -> None:
    (tmp_path / "taken").write_text("mine")
    out = f"{tmp_path / 'taken'}{below}"
    assert call("train", config_file, "--out", out, "--data-root", tiny_root) == 2
    assert "taken is none" in capsys.readouterr().err
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_changed_context_set_is_found_before_anything_is_written(
    config_file: Path, tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = tmp_path / "data", tmp_path / "run"
    shutil.copytree(tiny_root / "tiny-mner", data / "tiny-mner")
    with (data / "tiny-mner" / "contexts" / "captions.jsonl").open("a") as file:
        file.write("{}\n")
    assert call("train", config_file, "--out", out, "--data-root", data) == 2
    assert "captions.jsonl: changed since it was prepared" in capsys.readouterr().err
    assert not out.exists()


def test_another_runs_folder_is_refused(
    config_file: Path, tiny_root: Path, run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("train", config_file, "--data-root", tiny_root, "--out", run_folder)
    assert call(*command) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"error: {run_folder}: holds another run")
    assert "optimisation.epochs is 1 there, 2 asked for" in shown


def test_a_folder_with_other_files_is_refused_and_left_as_it_is(
    config_file: Path, tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine"
    for name in ("best/thesis.txt", "checkpoint/0001/model.safetensors", "checkpoint/notes.txt"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("mine")
    before = sorted(out.rglob("*"))
    assert call("train", config_file, "--data-root", tiny_root, "--out", out) == 2
    assert f"{out}: expected a new or empty folder" in capsys.readouterr().err
    assert sorted(out.rglob("*")) == before


def test_an_empty_folder_and_what_a_killed_process_left_are_no_hindrance(
    config_file: Path, tiny_root: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / f"{TEMPORARY}x-y").write_text("half-written")
    command = ("train", config_file, "--data-root", tiny_root, "--out", out, "--no-test")
    assert call(*command, "--set", "optimisation.epochs=1") == 0


def test_one_process_trains_in_a_folder(
    config_file: Path, tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs" / "run"
    command = ("train", config_file, "--data-root", tiny_root, "--out", out, "--no-test")
    with held_run_folder(out):
        assert call(*command) == 2
        assert f"{out}: another process trains this run right now" in capsys.readouterr().err
        assert list(out.iterdir()) == []
    assert not (tmp_path / "runs").exists()  # nothing was written, so no folder stays
    assert call(*command) == 0


@pytest.mark.parametrize("out_is_there", [False, True])
def test_a_command_that_was_refused_may_be_corrected(
    config_file: Path,
    tiny_root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    out_is_there: bool,
) -> None:
    out, weights = tmp_path / "run", tmp_path / "weights.pth"
    weights.write_text("no weights")
    if out_is_there:
        out.mkdir()
    command = ["train", config_file, "--data-root", tiny_root, "--out", out, "--no-test"]
    command += ["--set", "optimisation.epochs=1", "--set", "image.encoder=resnet18"]
    for change in (f"image.weights={weights}", "image.size=300"):
        assert call(*command, "--set", change) == 2
        assert "Traceback" not in capsys.readouterr().err
        assert out.exists() == out_is_there
    assert call(*command, "--set", "image.weights=random") == 0


def test_a_diverged_run_is_a_failure(
    config_file: Path, tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from shapca.training.learning import Diverged

    def diverged(self: Learner, epoch: int, on_step: Any) -> Any:
        raise Diverged("epoch 1, batch 1 of 3: train/loss_main is nan")

    monkeypatch.setattr(Learner, "train_epoch", diverged)
    assert call("train", config_file, "--data-root", tiny_root, "--out", tmp_path / "run") == 1
    assert "diverged: epoch 1, batch 1 of 3: train/loss_main is nan" in capsys.readouterr().err


def test_running_out_of_memory_is_a_failure_with_a_reason(
    config_file: Path, tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def exhausted(self: Learner, epoch: int, on_step: Any) -> Any:
        raise MemoryError("no more")

    monkeypatch.setattr(Learner, "train_epoch", exhausted)
    assert call("train", config_file, "--data-root", tiny_root, "--out", tmp_path / "run") == 1
    shown = capsys.readouterr().err
    assert "failed: no more" in shown
    assert "batch size 8, peak" in shown


def test_evaluate_prints_a_table_or_json(
    run_folder: Path, tiny_mner: PreparedData, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("evaluate", run_folder, "--data", tiny_mner.folder, "--split", "valid")
    assert call(*command) == 0
    assert "strict_f1" in capsys.readouterr().out
    assert call(*command, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    stored = json.loads((run_folder / "evaluations/valid.json").read_text())
    assert record == {"run": str(run_folder), **stored}


def test_evaluate_takes_label_maps_as_pairs_and_as_files(
    run_folder: Path, tiny_mner: PreparedData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    renamed = with_renamed_type(tiny_mner, tmp_path / "renamed", "MISC", "ODD")
    command = ("evaluate", run_folder, "--data", renamed.folder, "--json", "--label-map")
    assert call(*command, "MISC=ODD") == 0
    by_pair = json.loads(capsys.readouterr().out)
    file = tmp_path / "map.yaml"
    file.write_text("MISC: ODD\n", encoding="utf-8")
    assert call(*command, file) == 0
    assert json.loads(capsys.readouterr().out) == by_pair
    assert by_pair["label_map"] == {"MISC": "ODD"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "dev"], "split 'dev': expected one of train, valid, test"),
        (["--label-map", "OTHER"], "--label-map OTHER: expected MODEL_TYPE=DATA_TYPE"),
        (["--label-map", "OTHER=MISC"], "the model has no label 'OTHER'"),
        (["--label-map", "absent.yaml"], "absent.yaml"),
    ],
)
def test_evaluate_refuses_bad_input(
    run_folder: Path,
    tiny_mner: PreparedData,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    assert call("evaluate", run_folder, "--data", tiny_mner.folder, *arguments) == 2
    assert message in capsys.readouterr().err


def test_predict_prints_entities_or_json(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "Anna visits [Paris] today"
    assert call("predict", run_folder, "--text", text, "--context", "a photo") == 0
    assert capsys.readouterr().out
    assert call("predict", run_folder, "--text", text, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["text"] == text
    for entity in record["entities"]:
        assert text[entity["start"] : entity["end"]] == entity["text"]


def test_predict_writes_a_line_a_post_and_goes_on(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "posts.jsonl", tmp_path / "found.jsonl"
    texts = ["Anna visits [Paris] today", "Bob", "two men in Green Hill"]
    file.write_text(
        "".join(json.dumps({"id": f"p{i}", "said": text}) + "\n" for i, text in enumerate(texts))
    )
    command = ("predict", run_folder, "--input", file, "--out", out, "--column", "text=said")
    assert call(*command) == 0
    assert f"{out}: 3 posts, " in capsys.readouterr().out
    found = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [line.pop("id") for line in found] == ["p0", "p1", "p2"]
    for line, text in zip(found, texts, strict=True):
        assert call("predict", run_folder, "--text", text, "--json") == 0
        assert json.loads(capsys.readouterr().out)["text"] == line["text"] == text
    whole = out.read_bytes()
    out.write_bytes(whole[:-5])
    assert call(*command, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["num_posts"], report["num_kept"], report["out"]) == (3, 2, str(out))
    assert out.read_bytes() == whole
    assert call(*command, "--precision", "fp32") == 0  # as it was trained
    assert call(*command, "--precision", "bf16") == 2
    assert "found.jsonl: was begun with another options" in capsys.readouterr().err
    file.write_text(file.read_text() + '{"said": "more"}\n')
    assert call(*command) == 2
    assert "found.jsonl: was begun with another input" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected either --text or --input"),
        (["--text", "a", "--input", "posts.jsonl"], "expected either --text or --input"),
        (["--text", "a", "--out", "x"], "--out: of no use beside --text"),
        (["--input", "posts.jsonl"], "--input: expected --out too"),
        (["--input", "posts.jsonl", "--out", "x", "--context", "c"], "--context: of no use beside"),
        (["--input", "absent.jsonl", "--out", "x"], "absent.jsonl: cannot be read"),
        (["--input", "posts.jsonl", "--out", "x"], "posts.jsonl:2: not JSON"),
        (["--input", "image.jsonl", "--out", "x"], "does not read 'image'; --ignore image"),
    ],
)
def test_predict_refuses_files_before_anything_is_predicted(
    run_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("posts.jsonl").write_text('{"text": "Anna"}\n{\n')
    Path("image.jsonl").write_text('{"text": "Anna"}\n{"text": "Bob", "image": "1.jpg"}\n')
    assert call("predict", run_folder, *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert not Path("x").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--head", "Anna"], "--head and --tail: give both, or neither"),
        (["--head", "Anna", "--tail", "Bob"], "--tail 'Bob': found not in the text"),
        (["--head", "a", "--tail", "Paris"], "--head 'a': found 2 times in the text"),
        (["--head", "Anna", "--tail", "Paris"], "entities were given, but the model finds them"),
        (["--image", "nowhere.jpg"], "nowhere.jpg: the model reads no images"),
    ],
)
def test_predict_refuses_bad_input(
    run_folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert call("predict", run_folder, "--text", "Anna in Paris", *arguments) == 2
    assert message in capsys.readouterr().err
    assert call("predict", run_folder.parent, "--text", "Anna") == 2
    assert "run.json is missing" in capsys.readouterr().err

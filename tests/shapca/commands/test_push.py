"""`shapca push`: a folder, or a repository of a small Hub on loopback, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.hub import TOKEN, open_hub
from tests.shapca.commands.test_cli import call
from tests.shapca.commands.test_cli import run_folder as run_folder

TEXT = "Frida Kahlo lives in Lisbon now"


def test_a_folder_is_written_and_predicts_the_same(
    run_folder: Path, tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved, data = tmp_path / "saved", tiny_root / "tiny-mner"
    assert call("push", run_folder, "--folder", saved, "--license", "mit", "--data", data) == 0
    assert str(saved) in capsys.readouterr().out
    card = (saved / "README.md").read_text()
    assert "\nlicense: mit\n" in card
    assert "| train |" in card
    found = []
    for folder in (run_folder, saved):
        assert call("predict", folder, "--text", TEXT, "--context", "a house", "--json") == 0
        found.append(capsys.readouterr().out)
    assert found[0] == found[1] != ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "expected either REPO or --folder"),
        (("me/model", "--folder", "saved"), "expected either REPO or --folder"),
        (("--folder", "saved", "--private"), "--private, --revision: of no use beside --folder"),
        (("--folder", "saved", "--revision", "x"), "of no use beside --folder"),
        (("--folder", "saved", "--data", "absent"), "absent"),
    ],
)
def test_what_does_not_go_together_is_one_message(
    run_folder: Path, tmp_path: Path, options: tuple[str, ...], message: str,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert call("push", run_folder, *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "saved").exists()


@pytest.mark.slow
def test_a_hub_that_the_environment_names_gets_the_model(run_folder: Path, tmp_path: Path) -> None:
    with open_hub() as hub:
        environment = {
            **os.environ, "HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "HF_TOKEN": TOKEN,
            "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path / "home"),
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "shapca", "push", str(run_folder), "me/model", "--private"],
            env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (0, f"{hub.address}/me/model: uploaded\n")
        assert TOKEN not in done.stdout + done.stderr
        assert hub.repositories["me/model"].private
        assert "model.safetensors" in hub.repositories["me/model"].branches["main"]


def test_without_a_token_is_one_message(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    assert call("push", run_folder, "me/model") == 2
    assert capsys.readouterr().err == (
        "error: no token of the Hub: set HF_TOKEN, or log in by `hf auth login`\n"
    )

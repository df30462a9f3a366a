"""Contexts on a local Ray of two CPU workers: the same as alone, resumed, with a worker lost."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import app
from orchestrator.cluster import context_workers
from orchestrator.cluster.context_workers import (
    ContextWorker,
    Spread,
    settings_for_worker,
)
from orchestrator.cluster.session import RayOptions, ray_session
from orchestrator.cluster.watch import NodesFailedError
from orchestrator.config.resources import ResourceConfig
from shapca.cli import run_application
from shapca.contexts.answering import Picture, Task, answer_pictures
from shapca.contexts.generators.endpoint import EndpointStopped
from shapca.contexts.generators.opening import identify
from shapca.contexts.pictures import pictures_of_folder, sha256
from shapca.contexts.report import GenerationReport
from shapca.contexts.run import generate_contexts
from shapca.contexts.settings import EndpointSettings, GenerationSettings
from shapca.data.preparation.context_record import ContextRecord
from shapca.errors import InputError
from tests.drawn_pictures import draw_pictures
from tests.endpoint import endpoint
from tests.orchestrator.context_workers import (
    FOLDER,
    CountedWorker,
    DyingWorker,
    PlainGenerator,
)
from tests.paths import ROOT

KEY = "sk-secret-0123456789"


@pytest.fixture(scope="module")
def noted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("noted")


@pytest.fixture(scope="module")
def ray_here(noted: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))  # workers import the tests' ones
        patch.setenv("OPENAI_API_KEY", KEY)
        patch.setenv(FOLDER, str(noted))
        with ray_session(RayOptions()):
            yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return draw_pictures(tmp_path / "pictures", 12)


def spread(worker: type[ContextWorker] = ContextWorker, num: int = 2) -> Spread:
    return Spread(RayOptions(), ResourceConfig(max_concurrent=num), worker)


def run(
    folder: Path, settings: GenerationSettings, execute: Spread | None, name: str = "out"
) -> tuple[GenerationReport, list[dict[str, Any]]]:
    out = folder.parent / f"{name}.jsonl"
    more = {} if execute is None else {"execute": execute}
    report = generate_contexts(pictures_of_folder(folder), settings, out, **more)
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    return report, [{**line, "seconds": None, "time": None} for line in lines]


def plain(**arguments: Any) -> GenerationSettings:
    return GenerationSettings("openai:plain", **{"batch_size": 2, **arguments})


def notes(noted: Path, what: str) -> list[str]:
    return [file.name.split("-")[1] for file in sorted(noted.glob(f"{what}-*"))]


def clear(noted: Path) -> None:
    for file in noted.iterdir():
        file.unlink()


def test_two_workers_write_what_one_writes_alone(
    ray_here: None, noted: Path, folder: Path, vision_models: dict[str, Path]
) -> None:
    """A real model, once a worker; the file is the same but for times."""
    settings = GenerationSettings(
        f"hf:{vision_models['llava']}", prompt="the man", max_new_tokens=5, batch_size=2,
        dtype="float32", device="cpu",
    )  # fmt: skip
    (folder / "p3.png").write_bytes(b"broken")
    clear(noted)
    report, lines = run(folder, settings, spread(CountedWorker))
    starts, batches = notes(noted, "start"), notes(noted, "batch")
    assert len(starts) == len(set(starts)) == 2
    assert len(batches) == 6
    assert set(batches) == set(starts)
    assert os.getpid() not in map(int, starts)
    alone, lines_alone = run(folder, settings, None, "alone")
    assert lines == lines_alone
    assert report.statuses == alone.statuses
    assert report.statuses["broken_image"] == 1
    assert report.attempts == alone.attempts
    assert len({line["text"] for line in lines}) > 3


def test_a_lost_worker_costs_nothing_but_time(ray_here: None, noted: Path, folder: Path) -> None:
    clear(noted)
    report, lines = run(folder, plain(), spread(DyingWorker))
    assert (noted / "died").exists()
    assert report.statuses == {"ok": 12}
    clear(noted)
    assert run(folder, plain(), spread(CountedWorker), "undisturbed")[1] == lines


def test_a_new_worker_takes_the_place_of_a_lost_one(
    ray_here: None, noted: Path, folder: Path
) -> None:
    clear(noted)
    (noted / "start-0-other").touch()
    report, _ = run(folder, plain(), spread(DyingWorker, num=1))
    assert (noted / "died").exists()
    assert report.statuses == {"ok": 12}
    assert len(set(notes(noted, "batch"))) == 2


def test_workers_lost_again_and_again_end_the_run(
    ray_here: None, noted: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clear(noted)
    monkeypatch.setattr(context_workers, "RESTARTS", 0)
    with pytest.raises(NodesFailedError, match="1 worker lost, the last: "):
        run(folder, plain(), spread(DyingWorker))


def test_what_is_there_is_not_sent_again(ray_here: None, noted: Path, folder: Path) -> None:
    clear(noted)
    _, whole = run(folder, plain(), spread(CountedWorker))
    out = folder.parent / "out.jsonl"
    out.write_bytes(b"".join(out.read_bytes().splitlines(keepends=True)[:7]) + b'{"image": "p')
    clear(noted)
    report, lines = run(folder, plain(), spread(CountedWorker))
    assert (report.num_kept, report.num_generated, report.num_cut) == (7, 5, 1)
    assert len(notes(noted, "batch")) == 3
    assert lines == whole


def test_a_worker_that_cannot_start_is_one_message(
    ray_here: None, folder: Path, vision_models: dict[str, Path]
) -> None:
    settings = GenerationSettings(f"hf:{vision_models['llava']}", device="tpu9")
    with pytest.raises(InputError, match="--device: 'tpu9' is no device"):
        run(folder, settings, spread(num=1))


def test_the_command_asks_an_endpoint_from_workers(
    ray_here: None, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    asked = ["contexts", "--images", str(folder), "--generator", "openai:eyes",
             "--out", str(tmp_path / "out.jsonl"), "--workers", "2", "--batch-size", "3",
             "--json"]  # fmt: skip
    with endpoint() as server:
        server.plan = ["429", "refusal"]
        with pytest.raises(SystemExit) as ended:
            run_application(app, [*asked, "--base-url", server.url])
        assert ended.value.code == 0
        assert set(server.keys) == {f"Bearer {KEY}"}
        assert len(server.asked) == 14
    shown = capsys.readouterr()
    record = json.loads(shown.out)
    assert (record["statuses"], record["retries"], record["attempts"]) == ({"ok": 12}, 1, 13)
    assert KEY not in shown.out + shown.err + (tmp_path / "out.jsonl").read_text()


def test_more_workers_than_fit_are_refused(ray_here: None, folder: Path) -> None:
    with pytest.raises(InputError, match="--workers 900: with 1 CPU and 0 GPUs each, only"):
        run(folder, plain(), spread(num=900))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "nowhere", "--generator", "openai:x"], "nowhere: no such folder"),
        (["--images", ".", "--generator", "captions:x"], "needs no workers"),
        (["--generator", "openai:x"], "expected --images FOLDER, --data PREPARED, or both"),
    ],
)
def test_bad_input_is_found_before_ray_starts(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        run_application(app, ["contexts", "--out", "out.jsonl", *arguments])
    assert ended.value.code == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1


def test_workers_share_the_limit_on_requests(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    endpoint_settings = EndpointSettings(requests_per_minute=60.0)
    settings = GenerationSettings("hf:./model", endpoint=endpoint_settings)
    mine = settings_for_worker(settings, 4)
    assert mine.endpoint.requests_per_minute == 15.0
    assert mine.generator == f"hf:{tmp_path / 'model'}"
    hub = dataclasses.replace(settings, generator="hf:someone/model")
    assert settings_for_worker(hub, 4).generator == "hf:someone/model"


class TestWorker:
    """What runs in a worker, without Ray around it."""

    def pictures(self, folder: Path) -> list[Picture]:
        source = pictures_of_folder(folder)
        contents = {image: source.read(image) for image in source}
        tasks = {image: Task(image, sha256(content)) for image, content in contents.items()}
        return [Picture(tasks[image], content) for image, content in contents.items()]

    def test_pictures_survive_the_way(self, folder: Path) -> None:
        first, second, *others = self.pictures(folder)
        before = ContextRecord("p1", second.task.sha256, "empty", attempts=2, tokens=7)
        second = Picture(dataclasses.replace(second.task, before=before), second.content)
        unread = Picture(others[0].task, None, "gone")
        sent = [first, second, unread]
        assert pickle.loads(pickle.dumps(sent)) == sent

    def test_answers_a_batch_as_one_alone_does(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv(FOLDER, str(tmp_path))
        (tmp_path / "start-another").touch()
        settings, pictures = plain(), self.pictures(folder)
        identity = identify(settings)
        answered = CountedWorker(settings, identity).answer(pictures)
        alone = answer_pictures(PlainGenerator(), pictures, settings, identity).records
        mine = answered.records
        assert [dataclasses.replace(record, seconds=0.0, time="") for record in mine] == [
            dataclasses.replace(record, seconds=0.0, time="") for record in alone
        ]

    def test_tells_what_went_wrong_instead_of_raising(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        with endpoint() as server:
            settings = plain(endpoint=EndpointSettings(base_url=server.url))
            worker = ContextWorker(settings, identify(settings))
            for fault, kind in (("401", InputError), ("no quota", EndpointStopped)):
                server.always = fault
                answered = worker.answer(self.pictures(folder))
                assert answered.records == []
                assert type(answered.error) is kind
                assert "HTTP" in str(answered.error)
                assert KEY.encode() not in pickle.dumps(answered)

    def test_tells_what_went_wrong_after_the_answers_that_came(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        with endpoint() as server:
            settings = plain(endpoint=EndpointSettings(base_url=server.url))
            worker = ContextWorker(settings, identify(settings))
            first, *others = self.pictures(folder)
            server.for_picture = {p.task.sha256: "slow" for p in others}
            server.for_picture[first.task.sha256] = "no quota"
            answered = worker.answer([*others, first])
            assert len(answered.records) == len(server.asked) - 1 > 0
            assert {record.status for record in answered.records} == {"ok"}
            assert type(answered.error) is EndpointStopped
            assert "HTTP 429" in str(answered.error)

"""Models to and from a Hub: a small one on loopback, which the real client talks to."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub import ModelCard, constants

from shapca.config import Task
from shapca.errors import InputError
from shapca.prediction import Extractor
from shapca.prediction.hub import find_saved, upload
from tests.hub import TOKEN, Hub, commit_of, open_hub
from tests.shapca.prediction.conftest import RUNTIME

TEXT, CONTEXT = "Frida Kahlo lives in Lisbon now", "a photo of a house"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with open_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", hub.address)
        template = hub.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # plain LFS is spoken here
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


def refused(*arguments: object, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        Extractor.from_pretrained(*arguments, **options)  # type: ignore[arg-type]
    assert TOKEN not in str(caught.value)
    return str(caught.value)


def test_what_is_pushed_is_what_comes_back(
    light: Extractor, hub: Hub, caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG)
    extractor = light
    assert extractor.push_to_hub("me/model", private=True) == f"{hub.address}/me/model"
    repository = hub.repositories["me/model"]
    assert repository.private
    files = {"README.md", "config.json", "model.safetensors"}
    encoder = {"config.json", "tokenizer.json", "tokenizer_config.json"}
    assert set(repository.branches["main"]) == files | {f"encoder/text/{name}" for name in encoder}
    assert len(hub.uploads) == 1  # the weights, by LFS
    (card,) = hub.cards
    assert ModelCard(card).data.library_name == "shap-ca"
    read = Extractor.from_pretrained("me/model", runtime=RUNTIME)
    assert read.extract(TEXT, context=CONTEXT) == extractor.extract(TEXT, context=CONTEXT)
    weights = read._trained.model.state_dict()
    for name, weight in extractor._trained.model.state_dict().items():
        assert torch.equal(weights[name], weight)
    assert not any("README" in asked for asked in hub.asked if "resolve" in asked)
    shown = capfd.readouterr()
    assert TOKEN not in caplog.text + shown.out + shown.err


def test_revisions_are_branches_and_commits(
    light: Extractor, extractors: dict[Task, Extractor], hub: Hub
) -> None:
    light.push_to_hub("me/model")
    extractors["mre"].push_to_hub("me/model", revision="relations")
    assert not any("encoder" in name for name in hub.repositories["me/model"].branches["relations"])
    branches = hub.repositories["me/model"].branches
    assert set(branches) == {"main", "relations"}
    for revision, task in ((None, "mner"), ("relations", "mre"),
                           (commit_of(branches["relations"]), "mre")):  # fmt: skip
        read = Extractor.from_pretrained("me/model", revision=revision, runtime=RUNTIME)
        assert read.config.task == task
    message = refused("me/model", revision="absent")
    assert message == "me/model: has no revision 'absent'"


def test_what_is_in_the_cache_needs_no_network(
    light: Extractor, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    light.push_to_hub("me/model")
    Extractor.from_pretrained("me/model", runtime=RUNTIME)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    number = len(hub.asked)
    assert Extractor.from_pretrained("me/model", runtime=RUNTIME).config.task == "mner"
    assert len(hub.asked) == number
    assert "not in the local cache" in refused("me/other")
    with pytest.raises(InputError, match="me/model: HF_HUB_OFFLINE is set"):
        light.push_to_hub("me/model")


def test_without_a_network_is_one_message(
    light: Extractor, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in (constants, huggingface_hub.hf_api.api):
        name = "ENDPOINT" if place is constants else "endpoint"
        monkeypatch.setattr(place, name, "http://user:word@127.0.0.1:9")
    assert (
        refused("me/model") == "me/model: not in the local cache, and 127.0.0.1:9 was not reached"
    )
    with pytest.raises(InputError, match=r"^me/model: 127\.0\.0\.1:9 does not answer"):
        light.push_to_hub("me/model")


def test_what_the_hub_refuses_is_one_message(
    light: Extractor, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    extractor, place = light, hub.address.removeprefix("http://")
    assert refused("me/absent") == (
        f"me/absent: no such repository at {place}, or a private one of others"
    )
    assert "no name of a repository" in refused("a/b/c")
    assert "no such folder" in refused("./absent")
    with pytest.raises(InputError, match="status 403; the token may not do that"):
        extractor.push_to_hub("nobody/model")
    for status in (401, 500, 403):
        hub.status = status
        with pytest.raises(InputError) as caught:
            extractor.push_to_hub("me/model")
        assert f"status {status}" in str(caught.value) or "no such repository" in str(caught.value)
        assert TOKEN not in str(caught.value)
        assert caught.value.__suppress_context__
    hub.status = None
    extractor.push_to_hub("me/public")
    with pytest.raises(InputError, match="is there already and public; nothing was uploaded"):
        extractor.push_to_hub("me/public", private=True)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(InputError, match="no token of the Hub: set HF_TOKEN"):
        extractor.push_to_hub("me/model")


def test_a_repository_of_something_else_is_refused(light: Extractor, hub: Hub) -> None:
    light.push_to_hub("me/model")
    files = hub.repositories["me/model"].branches["main"]
    hub.sizes["model.safetensors"] = 2**40
    number = len(hub.asked)
    assert "model.safetensors has 1,099,511,627,776 bytes, expected" in refused("me/model")
    assert len(hub.asked) == number + 1  # nothing was downloaded
    hub.sizes.clear()
    files["config.json"] = b'{"model_type": "bert"}'
    assert "no saved model" in refused("me/model")


def test_what_is_looked_at_is_what_is_fetched(
    light: Extractor, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    light.push_to_hub("me/model")
    main = hub.repositories["me/model"].branches["main"]
    first = commit_of(main)
    looked_at = huggingface_hub.model_info

    def changed_right_after(*arguments: object, **options: object) -> object:
        found = looked_at(*arguments, **options)  # type: ignore[arg-type]
        hub.repositories["me/model"].branches |= {
            "before": dict(main), "main": main | {"encoder/text/new.txt": b"x" * 2**20},
        }  # fmt: skip
        return found

    monkeypatch.setattr(huggingface_hub, "model_info", changed_right_after)
    snapshot = find_saved("me/model").root
    assert snapshot.name == first
    assert not (snapshot / "encoder/text/new.txt").exists()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert find_saved("me/model").root == snapshot
    assert find_saved("me/model", first).root == snapshot


def test_a_repository_of_very_many_files_is_refused(light: Extractor, hub: Hub) -> None:
    light.push_to_hub("me/model")
    files = hub.repositories["me/model"].branches["main"]
    files |= {f"encoder/text/{number}/x": b"" for number in range(100)}
    number = len(hub.asked)
    assert refused("me/model") == "me/model: 105 files of a model, expected 66 at most"
    assert len(hub.asked) == number + 1


def test_what_this_machine_refuses_is_not_told_as_the_hubs(
    light: Extractor, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    light.save_pretrained(tmp_path / "model")
    (tmp_path / "model/model.safetensors").unlink()
    (tmp_path / "model/model.safetensors").symlink_to("/proc/self/mem")  # reads as a bad disk does
    with pytest.raises(InputError, match=r"^me/model: a file here: Input/output error$"):
        upload(tmp_path / "model", "me/model")
    light.push_to_hub("me/model")
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "cache"))
    assert refused("me/model") == f"me/model: {tmp_path}/file/cache: Not a directory"

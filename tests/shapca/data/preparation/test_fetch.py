"""Fetching a benchmark's text: from local git repositories with the trees of the public ones."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from shapca.cli import app, run_application
from shapca.data.manifest import hash_file
from shapca.data.preparation import trees as trees_module
from shapca.data.preparation.fetch import RECORD, fetch
from shapca.data.preparation.readers import READERS
from shapca.data.preparation.sources import SOURCES
from shapca.data.preparation.trees import GitTree, check_address, shown
from shapca.errors import InputError
from tests.paths import FIXTURES

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=n", "-c", "user.email=n@example.org")
    result = subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return result.stdout.strip()


def repository(folder: Path, files: dict[str, str]) -> Path:
    """A git repository with one commit: path in it to a fixture's path, or to text after `=`."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "--quiet")
    for path, content in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if content.startswith("="):
            place.write_text(content[1:], encoding="utf-8")
        else:
            shutil.copy(FIXTURES / content, place)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "files")
    return folder


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("repositories")
    splits = ("train", "valid", "test")
    twitter = {
        f"data/{name}/{split}.txt": f"{name}/{split}.txt"
        for name in ("twitter2015", "twitter2017")
        for split in splits
    }
    mnre = {"train": "mnre_train.txt", "val": "mnre_val.txt", "test": "mnre_test.txt"}
    of_tmr = {f"TMR-RE/data/txt/ours_{key}.txt": f"mnre/{file}" for key, file in mnre.items()}
    captions = {
        f"CAMIM/data/caption/{model}_{split}.txt": "=" + str({"img_id": "1.jpg", "text": model})
        for model in ("BLIP", "llavanext", "caption")
        for split in mnre
    }
    umt = {**twitter, "README.md": "=UMT", "log files/UMT_twitter2015.txt": "=log"}
    trees = {
        "umt": umt,
        "pgim": {
            "data/ImageCaption/BLIP2_15.txt": "=1.jpg :a caption\n",
            "data/ImageCaption/BLIP2_17.txt": "captions/lines.txt",
            "data/ManualAnnotation/2017/2017train.txt": "=text",
        },
        "mnre": {
            "mnre_txt/mnre_train.txt": "mnre/mnre_train.txt",
            "mnre_txt/mnre_val .txt": "mnre/mnre_val.txt",
            "mnre_txt/mnre_test.txt": "mnre/mnre_test.txt",
            "Version-1/mnre_txt/mnre_org_train.txt": "=other",
            "mnre_image/README.md": "=images elsewhere",
        },
        "tmr": {**of_tmr, "TMR-RE/data/ours_rel2id.json": "mnre/ours_rel2id.json"},
        "camim": captions,
        "jmere": {f"V1/JMERE/{key}.json": f"jmere/{key}.json" for key in mnre},
    }  # fmt: skip
    return {name: repository(root / name, files) for name, files in trees.items()}


def known_names(name: str) -> list[str]:
    return [names[0] for names in SOURCES[name].splits.values()]


@pytest.mark.parametrize(
    ("name", "tree"),
    [("twitter2015", "umt"), ("twitter2017", "umt"), ("mnre", "mnre"), ("mnre", "tmr"),
     ("jmere", "jmere")],
)  # fmt: skip
def test_the_text_of_each_tree_is_taken(
    trees: dict[str, Path], tmp_path: Path, name: str, tree: str
) -> None:
    out = tmp_path / "raw" / name
    result = fetch(name, str(trees[tree]), out)
    assert result.commit == git(trees[tree], "rev-parse", "HEAD")
    relations = ["ours_rel2id.json"] if tree == "tmr" else []
    assert sorted(result.files) == sorted(known_names(name) + relations)
    for target, file in result.files.items():
        assert file.sha256 == hashlib.sha256((out / target).read_bytes()).hexdigest()
        assert (out / target).read_bytes() == (trees[tree] / file.path).read_bytes()
        assert (file.origin, file.commit) == (str(trees[tree]), result.commit)
    read = READERS[name](out).splits
    assert result.counts == {split: len(posts) for split, posts in read.items()}
    assert {path.name for path in out.parent.iterdir()} == {name}
    assert json.loads((out / RECORD).read_text())["name"] == name


def test_a_folder_serves_too(trees: dict[str, Path], tmp_path: Path) -> None:
    for name in ("twitter2017", "jmere"):
        result = fetch(name, str(FIXTURES / name), tmp_path / name)
        assert result.commit is None
        assert sorted(result.files) == sorted(known_names(name))
    whole = tmp_path / "unpacked"
    shutil.copytree(trees["umt"], whole, ignore=shutil.ignore_patterns(".git"))
    assert fetch("twitter2015", str(whole), tmp_path / "a").files["train.txt"].path == (
        "data/twitter2015/train.txt"
    )


def test_file_addresses_serve_too(trees: dict[str, Path], tmp_path: Path) -> None:
    address = trees["umt"].as_uri()
    commit = git(trees["umt"], "rev-parse", "HEAD")
    by_hash = fetch("twitter2015", address, tmp_path / "a", commit=commit)
    newest = fetch("twitter2015", address, tmp_path / "b")
    assert by_hash.commit == newest.commit == commit
    assert by_hash.files == newest.files


def test_captions_are_added_from_other_repositories(trees: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "mnre"
    fetch("mnre", str(trees["mnre"]), out)
    relations = fetch("mnre", str(trees["tmr"]), out)  # the same splits again, and one file more
    assert relations.added == ("ours_rel2id.json",)
    captions = fetch("mnre", str(trees["camim"]), out)
    assert sorted(captions.added) == sorted(
        f"captions/{ours}_{split}.txt"
        for ours in ("blip2", "llavanext", "qwen")
        for split in ("train", "val", "test")
    )
    assert "'text': 'BLIP'" in (out / "captions/blip2_val.txt").read_text()
    assert captions.files["mnre_val.txt"].path == "mnre_txt/mnre_val .txt"
    assert captions.files["captions/qwen_test.txt"].origin == str(trees["camim"])
    before = hash_file(out / RECORD)
    again = fetch("mnre", str(trees["camim"]), out)
    assert again.added == ()
    assert again.files == captions.files
    assert hash_file(out / RECORD) == before
    twitter = tmp_path / "twitter2017"
    fetch("twitter2017", str(trees["umt"]), twitter)
    assert fetch("twitter2017", str(trees["pgim"]), twitter).added == ("captions_blip2.txt",)


def test_a_pinned_commit_gives_its_own_content(tmp_path: Path) -> None:
    files = {f"{split}.txt": f"twitter2017/{split}.txt" for split in ("train", "valid", "test")}
    folder = repository(tmp_path / "repository", files)
    first = git(folder, "rev-parse", "HEAD")
    (folder / "train.txt").write_text("IMGID:1\nnew\tO\n")
    git(folder, "commit", "--quiet", "--all", "--message", "changed")
    (folder / "train.txt").write_text("IMGID:1\nuncommitted\tO\n")
    for number, commit in enumerate((first, first[:8])):
        result = fetch("twitter2017", str(folder), tmp_path / f"old{number}", commit=commit)
        assert result.commit == first
        assert result.files["train.txt"].sha256 == hash_file(FIXTURES / "twitter2017/train.txt")
    newest = fetch("twitter2017", str(folder), tmp_path / "new")
    assert newest.commit == git(folder, "rev-parse", "HEAD")
    assert (tmp_path / "new" / "train.txt").read_text() == "IMGID:1\nnew\tO\n"
    with pytest.raises(InputError, match=r"train\.txt: .* has another file of this name"):
        fetch("twitter2017", str(folder), tmp_path / "new", commit=first)


class TestRefuses:
    def test_an_unknown_commit(self, trees: dict[str, Path], tmp_path: Path) -> None:
        for commit in ("0" * 40, "0" * 9):
            with pytest.raises(InputError, match=f"no commit {commit} in it"):
                fetch("twitter2015", str(trees["umt"]), tmp_path / "out", commit=commit)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("commit", ["main", "HEAD~1", "--output=x", "abc", "ABCDEF0", ""])
    def test_what_is_no_commit_hash(
        self, trees: dict[str, Path], tmp_path: Path, commit: str
    ) -> None:
        with pytest.raises(InputError, match="expected the hash of a commit"):
            fetch("twitter2015", str(trees["umt"]), tmp_path / "out", commit=commit)

    @pytest.mark.parametrize(
        ("name", "tree", "message"),
        [
            ("mnre", "umt", r"the splits of mnre .*'mnre_train.txt' or 'ours_train.txt'; valid: "),
            ("twitter2017", "mnre", r"expected in one folder, with 2017 .*train: 'train.txt'; "),
            ("twitter2015", "jmere", "the splits of twitter2015 are not in its 3 files"),
            ("jmere", "umt", "train: 'train.json'; valid: 'val.json' or"),
            ("mnre", "camim", "the splits of mnre are not in its 9 files"),
        ],
    )
    def test_a_tree_without_the_expected_files(
        self, trees: dict[str, Path], tmp_path: Path, name: str, tree: str, message: str
    ) -> None:
        with pytest.raises(InputError, match=message):
            fetch(name, str(trees[tree]), tmp_path / "out")
        assert list(tmp_path.iterdir()) == []

    def test_another_benchmark_with_files_of_the_same_names(self, tmp_path: Path) -> None:
        shutil.copytree(FIXTURES / "twitter2017", tmp_path / "tree" / "data" / "twitter2017")
        with pytest.raises(InputError, match=r"hold files of these names: data/twitter2017; name"):
            fetch("twitter2015", str(tmp_path / "tree"), tmp_path / "out")
        chosen = fetch(
            "twitter2015", str(tmp_path / "tree"), tmp_path / "out", folder="./data/twitter2017/"
        )
        assert chosen.files["train.txt"].known is False

    def test_several_folders_that_fit(self, tmp_path: Path) -> None:
        for copy in ("a/2017", "b/2017"):
            shutil.copytree(FIXTURES / "twitter2017", tmp_path / "tree" / copy)
        with pytest.raises(InputError, match=r"2 folders hold the splits .* a/2017, b/2017; name"):
            fetch("twitter2017", str(tmp_path / "tree"), tmp_path / "out")
        chosen = fetch("twitter2017", str(tmp_path / "tree"), tmp_path / "out", folder="b/2017")
        assert chosen.files["test.txt"].path == "b/2017/test.txt"

    @pytest.mark.parametrize("kind", ["git", "folder"])
    def test_links_are_not_followed(self, tmp_path: Path, kind: str) -> None:
        secret = tmp_path / "secret.txt"
        secret.write_text("IMGID:1\nsecret\tO\n")
        tree = tmp_path / "tree"
        shutil.copytree(FIXTURES / "twitter2017", tree)
        (tree / "test.txt").unlink()
        (tree / "test.txt").symlink_to(secret)
        (tree / "linked").symlink_to(FIXTURES)
        if kind == "git":
            repository(tree, {})
        with pytest.raises(InputError, match=r"test\.txt: a link, expected a plain file"):
            fetch("twitter2017", str(tree), tmp_path / "out")
        with pytest.raises(InputError, match=r"the splits of mnre are not in its"):
            fetch("mnre", str(tree), tmp_path / "out")
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        "address",
        [
            "nowhere", "-u", "--upload-pack=touch x", "", "a\nb", "ext::sh -c 'touch {marker}'",
            "fd::17", "https::https://host/x", "ftp://host/x", "file-x://host", "ssh://-oProxy/x",
            "user@-host:x", "user@host:-x", "https://", "host:path", "https://[x", "ext::https://[::1",
        ],
    )  # fmt: skip
    def test_addresses_that_are_none(self, tmp_path: Path, address: str) -> None:
        marker = tmp_path / "marker"
        with pytest.raises(InputError, match="--from"):
            fetch("mnre", address.format(marker=marker), tmp_path / "out")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        "address",
        ["https://host/a/b", "ssh://git@host:22/a", "git@host:a/b.git", "git://host/a",
         "file:///a/b"],
    )  # fmt: skip
    def test_addresses_that_are_some(self, address: str) -> None:
        check_address(address)

    def test_a_repository_that_does_not_exist(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"file:///no/such/place: cannot be fetched \('?/no/"):
            fetch("mnre", "file:///no/such/place", tmp_path / "out")
        assert list(tmp_path.iterdir()) == []

    def test_a_transport_that_runs_commands_even_past_the_check(self, tmp_path: Path) -> None:
        place, marker = tmp_path / "place", tmp_path / "marker"
        place.mkdir()
        with pytest.raises(InputError, match="transport 'ext' not allowed"):
            GitTree(f"ext::touch {marker}", None, place)
        assert not marker.exists()

    def test_a_password_is_never_shown(self, tmp_path: Path) -> None:
        address = "http://user:hunter2@127.0.0.1:1/a/b?token=hunter3"
        assert shown(address) == "http://127.0.0.1:1/a/b"
        with pytest.raises(InputError) as caught:
            fetch("mnre", address, tmp_path / "out")
        assert "127.0.0.1:1/a/b: cannot be fetched" in str(caught.value)
        assert "hunter" not in str(caught.value)

    def test_a_branch_named_like_a_short_hash_is_not_taken_for_it(self, tmp_path: Path) -> None:
        folder = repository(tmp_path / "repository", {"train.txt": "=IMGID:1\na\tO\n"})
        first = git(folder, "rev-parse", "HEAD")
        (folder / "train.txt").write_text("IMGID:1\nb\tO\n")
        git(folder, "commit", "--quiet", "--all", "--message", "other")
        git(folder, "branch", first[:8])
        (place := tmp_path / "place").mkdir()
        tree = GitTree(str(folder), first[:8], place)
        assert tree.commit == first
        assert tree.read("train.txt") == b"IMGID:1\na\tO\n"

    def test_a_small_repository_of_endless_files(self, tmp_path: Path) -> None:
        """Ten folders that are all the same one, eight floors deep."""
        folder = repository(tmp_path / "repository", {"train.txt": "=a"})
        tree = git(folder, "rev-parse", "HEAD^{tree}")
        for _ in range(8):
            names = "".join(f"040000 tree {tree}\t{name}\n" for name in "abcdefghij")
            done = subprocess.run(
                ["git", "-C", str(folder), "mktree"], input=names, capture_output=True, text=True
            )
            tree = done.stdout.strip()
        commit = git(folder, "commit-tree", tree, "-m", "bomb")
        git(folder, "update-ref", "refs/heads/bomb", commit)
        (place := tmp_path / "place").mkdir()
        with pytest.raises(InputError, match="more than 200,000 files"):
            GitTree(str(folder), commit, place)
        assert not list(place.glob("a/*"))

    def test_a_small_repository_of_a_large_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = repository(tmp_path / "repository", {"train.txt": "=" + "x" * 4 * 2**20})
        monkeypatch.setattr(trees_module, "MOST_BYTES", 2**20)
        (place := tmp_path / "place").mkdir()
        with pytest.raises(InputError, match="cannot be fetched"):
            GitTree(str(folder), None, place)
        assert all(file.stat().st_size <= 2**21 for file in place.rglob("*") if file.is_file())

    @pytest.mark.parametrize("end", ["exit 1", "sleep 60"])
    def test_a_server_that_talks_without_end(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
    ) -> None:
        git = tmp_path / "bin" / "git"
        git.parent.mkdir()
        git.write_text(f"#!/bin/sh\nyes 'remote: buy this' | head -c 3000000 >&2\n{end}\n")
        git.chmod(0o755)
        monkeypatch.setenv("PATH", f"{git.parent}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setattr(trees_module, "MOST_SECONDS", 2)
        (place := tmp_path / "place").mkdir()
        said = "remote: buy this" if end == "exit 1" else "not fetched within"
        with pytest.raises(InputError, match=said) as caught:
            GitTree("https://host/x", None, place)
        assert len(str(caught.value)) < 400

    def test_a_commit_of_a_plain_folder(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="is a plain folder, no git repository"):
            fetch("mnre", str(FIXTURES / "mnre"), tmp_path / "out", commit="0" * 40)

    def test_files_that_are_not_the_benchmark(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tree = Path(shutil.copytree(FIXTURES / "mnre", tmp_path / "tree"))
        (tree / "mnre_val.txt").write_text("hello\n")
        with pytest.raises(InputError, match=r"mnre_val\.txt:1: not a Python-literal dict"):
            fetch("mnre", str(tree), tmp_path / "out")
        pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
        (tree / "mnre_val.txt").write_text(pointer)
        with pytest.raises(InputError, match=r"mnre_val\.txt: a Git LFS pointer"):
            fetch("mnre", str(tree), tmp_path / "out")
        monkeypatch.setattr(trees_module, "LARGEST_FILE", 2**20)
        os.truncate(tree / "mnre_val.txt", 2**20 + 1)
        with pytest.raises(InputError, match=r"mnre_val\.txt: larger than 1 MiB"):
            fetch("mnre", str(tree), tmp_path / "out")
        assert [path.name for path in tmp_path.iterdir()] == ["tree"]

    def test_a_folder_that_holds_something_else(
        self, trees: dict[str, Path], tmp_path: Path
    ) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine.txt").write_text("mine")
        with pytest.raises(InputError, match="holds something else than a fetched data set"):
            fetch("mnre", str(trees["mnre"]), tmp_path / "out")
        out = tmp_path / "mnre"
        fetch("mnre", str(trees["mnre"]), out)
        with pytest.raises(InputError, match="holds mnre, not jmere"):
            fetch("jmere", str(trees["jmere"]), out)
        (out / "ours_rel2id.json").write_text("{}")
        with pytest.raises(InputError, match="was not fetched and would be replaced"):
            fetch("mnre", str(trees["tmr"]), out)
        assert (out / "ours_rel2id.json").read_text() == "{}"
        (out / "mnre_test.txt").write_text("changed")
        with pytest.raises(InputError, match=r"mnre_test\.txt: changed or missing since"):
            fetch("mnre", str(trees["mnre"]), out)


def shapca(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exit_:
        run_application(app, [str(argument) for argument in arguments])
    return int(exit_.value.code or 0)


class TestCommands:
    def test_fetch_tells_hashes_counts_and_what_to_do(
        self, trees: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "raw"
        arguments = ("data", "fetch", "twitter2015", "--from", trees["umt"], "--out", out)
        assert shapca(*arguments) == 0
        printed = capsys.readouterr().out
        commit = git(trees["umt"], "rev-parse", "HEAD")
        digest = hash_file(FIXTURES / "twitter2015/train.txt")
        assert f"train.txt: {digest} NOT the known file" in printed
        assert f"{trees['umt']} at {commit}, data/twitter2015/train.txt" in printed
        assert "EXPECTED 4,000" in printed
        assert f"--commit {commit}" in printed
        assert "pictures are not included: one archive" in printed
        assert f"shapca data prepare twitter2015 --source {out} --images IMAGES" in printed
        assert shapca(*arguments, "--json") == 0
        record = json.loads(capsys.readouterr().out)
        assert (record["commit"], record["added"]) == (commit, [])

    def test_bad_input_is_one_message(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert shapca("data", "fetch", "mnre", "--from", "ext::x", "--out", tmp_path / "o") == 2
        assert shapca("data", "fetch", "mner", "--from", FIXTURES, "--out", tmp_path / "o") == 2
        assert shapca("data", "sources", "mner") == 2
        errors = capsys.readouterr().err.splitlines()
        assert len(errors) == 3
        assert errors[2] == (
            "error: 'mner': unknown data set; expected one of twitter2015, twitter2017, gmner, "
            "fmnerg, fmnerg-coarse, cmner, mnre, jmere"
        )

    def test_sources(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert shapca("data", "sources") == 0
        printed = capsys.readouterr().out
        for source in SOURCES.values():
            assert source.title in printed
            assert source.terms in printed
        assert "'mnre_val .txt'" in printed
        assert shapca("data", "sources", "--json") == 0
        records: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
        assert [record["name"] for record in records] == list(READERS)
        assert all(record["checks"] and record["images"] for record in records)

    @pytest.mark.parametrize("name", SOURCES)
    def test_the_command_that_sources_names_prepares(self, name: str, tmp_path: Path) -> None:
        source = SOURCES[name]
        assert source.splits == {key: source.splits[key] for key in ("train", "valid", "test")}
        raw = Path(shutil.copytree(FIXTURES / name, tmp_path / "raw"))
        (raw / "captions").mkdir()
        image = READERS[name](raw).splits["train"][0].image
        for file in (tmp_path / "FILE", *(raw / file for file in source.optional)):
            if "rel2id" not in file.name:
                file.write_text(f"{image}.jpg :a caption\n")
        command = source.prepare_command(str(raw)).replace(" --images IMAGES", "")
        command = command.replace("=FILE", f"={tmp_path}/FILE")
        command = command.replace("--out data", f"--out {tmp_path}/data")
        program, *arguments = shlex.split(command)
        assert program == "shapca"
        assert shapca(*arguments) == 0


@pytest.mark.real_data
@pytest.mark.parametrize("name", [name for name, source in SOURCES.items() if source.counts])
def test_real_files_are_the_known_ones(real_data: Path, tmp_path: Path, name: str) -> None:
    result = fetch(name, str(real_data / name), tmp_path / name)
    assert result.counts == SOURCES[name].counts
    known = {target: file.known for target, file in result.files.items()}
    assert set(known.values()) == ({None} if name == "jmere" else {True})
    assert len(known) == {"twitter2015": 4, "twitter2017": 4, "mnre": 13}.get(name, 3)

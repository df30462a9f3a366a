"""Trees of files that a benchmark is taken from: a plain folder, or one commit of a git repository.

No hook and no filter runs, and no link is followed.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from shapca.errors import InputError

Kind = Literal["file", "link", "other"]
MOST_FILES = 200_000
LARGEST_FILE = 256 * 2**20  # bytes; the largest known file has 7 MB
# What git may take: bytes of one file, which may be a pack of all, and of memory; time; words.
MOST_BYTES = 2 * 2**30
MOST_MEMORY = 8 * 2**30
MOST_SECONDS = 3600
MOST_SAID = 64 * 2**10
SCHEMES = ("https", "http", "ssh", "git", "file")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_SSH_ADDRESS = re.compile(r"[A-Za-z0-9_][\w.-]*@[A-Za-z0-9][\w.-]*:(?!-)[^:].*")


class FolderTree:
    """A plain folder: its files by their path.

    Args:
        folder: Where it is.

    Attributes:
        origin: Where the files are from, without any password.
        commit: The commit's hash; None for a plain folder.
    """

    commit: str | None = None

    def __init__(self, folder: Path) -> None:
        self.origin = str(folder)
        self._folder = folder

    def files(self) -> Mapping[str, Kind]:
        """Path, `/`-separated, to what is there; folders that are links are not entered."""
        found: dict[str, Kind] = {}
        for parent, folders, names in os.walk(self._folder, followlinks=False):
            folders[:] = sorted(name for name in folders if name != ".git")
            for name in sorted(names):
                path = Path(parent) / name
                kind: Kind = "link" if path.is_symlink() else "file" if path.is_file() else "other"
                found[path.relative_to(self._folder).as_posix()] = kind
        return found

    def read(self, path: str) -> bytes:
        """The content of a file, unless it is a link or too large for a text."""
        try:
            descriptor = os.open(self._folder / path, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError as error:
            raise InputError(f"{self.origin}/{path}: cannot be read ({error.strerror})") from error
        with os.fdopen(descriptor, "rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise InputError(
                f"{self.origin}/{path}: larger than {LARGEST_FILE // 2**20} MiB; expected a file "
                "of text"
            )
        return content


class GitTree(FolderTree):
    """One commit of a git repository, fetched and laid out in a folder of its own.

    Args:
        address: `https://…`, `ssh://…`, `user@host:path`, or a local repository's path.
        commit: Hash of the commit, or its first seven digits or more; None: the newest one.
        workplace: An empty folder for the fetched files.

    Raises:
        InputError: No git, no such repository, no such commit, or one of too many files.
    """

    def __init__(self, address: str, commit: str | None, workplace: Path) -> None:
        if commit is not None and not _COMMIT.fullmatch(commit):
            raise InputError(
                f"--commit {commit}: expected the hash of a commit, 7 or more of its hexadecimal "
                "digits (branches and tags move, so they pin nothing)"
            )
        super().__init__(workplace)
        self.origin = shown(address)
        self._address = address
        self._git("init", "--quiet", "--template=", ".")
        self.commit = self._fetch(commit)
        self._check_size()
        # Files as they were committed: neither line ends nor filters of anybody's settings.
        (workplace / ".git" / "info").mkdir()
        plain = "* -text -eol -ident -filter -working-tree-encoding\n"
        (workplace / ".git" / "info" / "attributes").write_text(plain, encoding="utf-8")
        self._git("checkout", "--quiet", "--detach", self.commit)

    def _fetch(self, commit: str | None) -> str:
        """Fetch a commit, without its history where the server can; its whole hash."""
        shallow = ("fetch", "--quiet", "--no-tags", "--depth=1", "origin")
        if commit is None:
            self._git(*shallow, "HEAD")
        # Not every server gives a commit by its hash, and none by a part of it.
        elif len(commit) < 40 or self._run(*shallow, commit).returncode:
            everything = ("+refs/heads/*:refs/fetched/heads/*", "+refs/tags/*:refs/fetched/tags/*")
            self._git("fetch", "--quiet", "--no-tags", "origin", *everything)
        revision = (commit or "FETCH_HEAD") + "^{commit}"
        found = self._run("rev-parse", "--verify", "--quiet", "--end-of-options", revision)
        whole = found.stdout.decode().strip()
        if found.returncode or not whole.startswith(commit or ""):
            raise InputError(
                f"{self.origin}: no commit {commit} in it; expected one of the history of a branch "
                "or tag"
            )
        return whole

    def _check_size(self) -> None:
        """A tree may name itself over and over: small in the repository, endless once laid out."""
        command = self._command("ls-tree", "-r", "--name-only", str(self.commit))
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment()
        ) as process:
            assert process.stdout is not None
            num_files = sum(1 for _ in itertools.islice(process.stdout, MOST_FILES + 1))
            process.kill()
        if num_files > MOST_FILES:
            raise InputError(
                f"{self.origin}: more than {MOST_FILES:,} files; expected a benchmark's text"
            )

    def _git(self, *arguments: str) -> None:
        result = self._run(*arguments)
        if result.returncode:
            raise InputError(
                f"{self.origin}: cannot be fetched ({self._reason(result.stderr)}); expected a git "
                "repository that can be read without a password prompt"
            )

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        with tempfile.TemporaryFile() as said:  # of any length, of which little counts
            try:
                done = subprocess.run(
                    self._command(*arguments),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=said,
                    check=False,
                    env=_environment(self._address),
                    timeout=MOST_SECONDS,
                )
            except subprocess.TimeoutExpired:
                raise InputError(
                    f"{self.origin}: not fetched within {MOST_SECONDS // 60} minutes; fetch the "
                    "repository by other means and give its folder to --from"
                ) from None
            said.seek(0)
            return subprocess.CompletedProcess(
                done.args, done.returncode, done.stdout, said.read(MOST_SAID)
            )

    def _command(self, *arguments: str) -> list[str]:
        git = shutil.which("git")
        if git is None:
            raise InputError(
                "git is not installed; install it, or fetch the repository by other means and give "
                "its folder to --from"
            )
        # A server that sends nothing for a minute is given up.
        settings = ("core.hooksPath=/dev/null", "http.lowSpeedLimit=1", "http.lowSpeedTime=60")
        options = [part for setting in settings for part in ("-c", setting)]
        # What is small in a repository may be endless once it is unpacked.
        limits = f"ulimit -v {MOST_MEMORY // 1024}; ulimit -f {MOST_BYTES // 512}"
        bounded = f'{{ {limits}; }} 2>/dev/null; exec "$@"'
        return ["sh", "-c", bounded, "sh", git, "-C", str(self._folder), *options, *arguments]

    def _reason(self, stderr: bytes) -> str:
        """The last thing that git said, without a password that its address may hold."""
        lines = stderr.decode("utf-8", errors="replace").strip().splitlines()
        told = [line for line in lines if line.startswith(("fatal:", "error:", "remote:"))] or lines
        limit = f"a file of more than {MOST_BYTES // 2**20:,} MiB, or git gave no reason"
        reason = told[0].removeprefix("fatal: ")[:500] if told else limit
        return _without_secrets(reason, self._address)


def open_tree(address: str, commit: str | None, workplace: Path) -> FolderTree:
    """The tree that an address means.

    A local path is a git repository where it holds one (what is committed counts then, not what
    lies beside it), else a plain folder.

    Args:
        address: A folder, a local repository, or a git address.
        commit: Hash of the commit to take; `None`: the newest one.
        workplace: A folder that does not exist, for what is fetched.

    Raises:
        InputError: no such place, an address that is not allowed, or a commit of a plain folder.
    """
    if not address or address.startswith("-") or not address.isprintable():
        raise InputError(f"--from {address!r}: expected a folder or a git repository's address")
    path = Path(address).expanduser()
    if path.is_dir():
        path = path.absolute()
        bare = all((path / name).exists() for name in ("HEAD", "objects", "refs"))
        if not bare and not (path / ".git").exists():
            if commit is not None:
                raise InputError(f"--commit {commit}: {path} is a plain folder, no git repository")
            return FolderTree(path)
        address = str(path)
    else:
        check_address(address)
    workplace.mkdir()
    return GitTree(address, commit, workplace)


def check_address(address: str) -> None:
    """Let through plain addresses of git repositories alone.

    Raises:
        InputError: a transport that runs commands (`ext::`), another scheme, a host that looks
            like an option, or no address at all.
    """
    try:
        urlsplit(address)
    except ValueError as error:  # not shown, since it may hold a password
        raise InputError(f"--from: not an address ({error})") from None
    scheme, separator, _ = address.partition("://")
    if "::" in address:
        raise InputError(
            f"--from {shown(address)}: remote helpers (`name::…`) are not allowed; expected "
            + ", ".join(f"{name}://…" for name in SCHEMES)
        )
    if separator:
        host = urlsplit(address).hostname or ""
        if scheme not in SCHEMES or host.startswith("-") or (not host and scheme != "file"):
            raise InputError(
                f"--from {shown(address)}: expected an address that begins with "
                + ", ".join(f"{name}://HOST" for name in SCHEMES)
            )
    elif not _SSH_ADDRESS.fullmatch(address):
        raise InputError(
            f"--from {address}: no such folder, and no git address (https://…, ssh://… or "
            "user@host:path)"
        )


def shown(address: str) -> str:
    """An address without the user, password and query that it may hold."""
    if "://" not in address:
        return address
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _without_secrets(text: str, address: str) -> str:
    """What git said, without the password and query of an address, in whatever form it names it."""
    text = text.replace(address, shown(address))
    if "://" in address:
        parts = urlsplit(address)
        secrets = (parts.netloc.rpartition("@")[0], parts.password, parts.query, parts.fragment)
        for secret in filter(None, secrets):
            text = text.replace(secret, "…")
    return text


_OF_ANOTHER_REPOSITORY = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE",
)  # fmt: skip


def _environment(address: str = "") -> dict[str, str]:
    """The process's environment, without another repository in it and without questions.

    The address, which may hold a password, stands here instead of in a file or a command line.
    """
    kept = {name: value for name, value in os.environ.items() if name not in _OF_ANOTHER_REPOSITORY}
    return {
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
        **kept,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",
        "SSH_ASKPASS": "",
        "GIT_ALLOW_PROTOCOL": ":".join(SCHEMES),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "remote.origin.url",
        "GIT_CONFIG_VALUE_0": address,
        "LC_ALL": "C",
    }

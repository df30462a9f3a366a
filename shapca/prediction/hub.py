"""Models from and to the Hugging Face Hub, or whatever server HF_ENDPOINT names.

The token is huggingface_hub's own (HF_TOKEN, or `hf auth login`); no message tells it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, constants, errors
from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

from shapca.config import is_local_path
from shapca.errors import InputError
from shapca.runs.saved import (
    ENCODERS,
    MOST_ENCODER_FILES,
    SAVED,
    WEIGHTS,
    SavedFolder,
    most_bytes,
)

MOST_FILES = 2 + len(ENCODERS) * MOST_ENCODER_FILES
READ = (SAVED, WEIGHTS, *(f"{folder}*" for folder in ENCODERS))
NO_TOKEN = "no token of the Hub: set HF_TOKEN, or log in by `hf auth login`"


def find_saved(name: str | Path, revision: str | None = None) -> SavedFolder:
    """A saved model in a folder, or of the Hub: from the local cache where it is there already.

    Args:
        name: A folder, or a repository as OWNER/NAME.
        revision: Branch, tag or commit of the repository.

    Raises:
        InputError: no such folder or repository, or more or larger files than a saved model has.
    """
    if isinstance(name, Path) or is_local_path(name):
        folder = Path(name).expanduser()
        if not folder.is_dir():
            raise InputError(f"{name}: no such folder; expected that of a saved model")
        if revision is not None:
            raise InputError(f"{name}: is a folder, which has no revision {revision!r}")
        return SavedFolder(folder)
    with _told(name, revision):
        snapshot = Path(_download(name, revision))
    return SavedFolder(snapshot, blobs=snapshot.parents[1] / "blobs")


def _download(name: str, revision: str | None) -> str:
    """The folder of a snapshot; what is looked at and what is fetched are one commit."""
    if constants.is_offline_mode():
        return _snapshot(name, revision, local_files_only=True)
    try:
        found = huggingface_hub.model_info(name, revision=revision, files_metadata=True)
    except httpx.TransportError:  # no network: what the cache has is all there is
        return _snapshot(name, revision, local_files_only=True)
    read = [file for file in found.siblings or () if _is_read(file.rfilename)]
    if len(read) > MOST_FILES:
        raise InputError(f"{name}: {len(read):,} files of a model, expected {MOST_FILES} at most")
    for file in read:
        if (file.size or 0) > most_bytes(file.rfilename):
            raise InputError(
                f"{name}: {file.rfilename} has {file.size:,} bytes, expected "
                f"{most_bytes(file.rfilename):,} at most"
            )
    if not re.fullmatch("[0-9a-f]{40}", found.sha or ""):
        raise ValueError("no commit")
    snapshot = _snapshot(name, found.sha)
    # As the cache notes a branch that is fetched by its name: it is found without a network.
    branch = Path(snapshot).parents[1] / "refs" / (revision or constants.DEFAULT_REVISION)
    if revision != found.sha:
        branch.parent.mkdir(parents=True, exist_ok=True)
        branch.write_text(str(found.sha))
    return snapshot


def _snapshot(name: str, revision: str | None, *, local_files_only: bool = False) -> str:
    return huggingface_hub.snapshot_download(
        name, revision=revision, allow_patterns=list(READ), local_files_only=local_files_only
    )


def _is_read(name: str) -> bool:
    return name in (SAVED, WEIGHTS) or name.startswith(ENCODERS)


def upload(
    folder: Path, name: str, *, private: bool | None = None, revision: str | None = None
) -> str:
    """Put a saved model into a repository, which is made where there is none.

    Args:
        folder: The model.
        name: The repository, OWNER/NAME or the token's own NAME.
        private: Whether a new repository is; None: as its owner's settings say.
        revision: Branch, made where there is none; None: `main`.

    Returns:
        Address of the repository.

    Raises:
        InputError: no token, no such owner, no network, or a repository that is public where a
            private one was asked for.
    """
    if huggingface_hub.get_token() is None:
        raise InputError(NO_TOKEN)
    with _told(name, None):
        api = huggingface_hub.HfApi(library_name="shap-ca")
        made = api.create_repo(name, private=private, exist_ok=True)
        if private and not api.model_info(made.repo_id).private:
            raise InputError(f"{made.repo_id}: is there already and public; nothing was uploaded")
        if revision is not None:
            api.create_branch(made.repo_id, branch=revision, exist_ok=True)
        files = {
            file.relative_to(folder).as_posix(): file
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        }
        there = api.list_repo_files(made.repo_id, revision=revision)
        api.create_commit(
            made.repo_id,
            [
                *(CommitOperationAdd(name, file) for name, file in files.items()),
                *(CommitOperationDelete(n) for n in there if _is_read(n) and n not in files),
            ],
            commit_message="A model of Shap-CA",
            revision=revision,
        )
    return str(made)


@contextmanager
def _told(name: str, revision: str | None) -> Iterator[None]:
    """Say what the Hub answers in one message, without what it was sent."""
    endpoint = _shown_endpoint()
    try:
        yield
        return
    except InputError:
        raise
    except errors.HFValidationError:
        reason = f"{name!r}: no name of a repository, which is OWNER/NAME"
    except errors.OfflineModeIsEnabled:
        reason = f"{name}: HF_HUB_OFFLINE is set, so that {endpoint} is not asked"
    except errors.LocalEntryNotFoundError:
        reason = f"{name}: not in the local cache, and {endpoint} was not reached"
    except errors.RevisionNotFoundError:
        reason = f"{name}: has no revision {revision!r}"
    except errors.RepositoryNotFoundError:
        reason = f"{name}: no such repository at {endpoint}, or a private one of others"
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        refused = "; the token may not do that" if status in (401, 403) else ""
        reason = f"{name}: {endpoint} answers with status {status}{refused}"
    except (httpx.HTTPError, OSError, ValueError, RuntimeError) as error:
        reason = f"{name}: {endpoint} does not answer as a Hub does ({type(error).__name__})"
        # The network's own faults come as the client's errors, or say nothing of the system's.
        if isinstance(error, OSError) and error.strerror and not isinstance(error, ConnectionError):
            reason = f"{name}: {error.filename or 'a file here'}: {error.strerror}"
    raise InputError(reason) from None


def _shown_endpoint() -> str:
    parts = urlsplit(constants.ENDPOINT)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)

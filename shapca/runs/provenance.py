"""Where a result comes from beside its code: the libraries, and the commit of the checkout."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import subprocess

from shapca.runs.code import PACKAGE

LIBRARIES = (
    "shap-ca", "torch", "torchvision", "transformers", "tokenizers", "numpy", "spacy",
    "safetensors", "pillow", "pydantic",
)  # fmt: skip


SENT = "COMMIT"
"""In a package that was sent somewhere without its checkout: the commit that it comes from."""


@functools.cache
def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that a result depends on."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


@functools.cache
def git_commit() -> str | None:
    """The commit of the checkout that the package runs from, `+changes` where it was edited.

    Returns:
        The commit, or `None` where the package does not run from a git checkout and was not sent
        from one.
    """
    commit = _git("rev-parse", "HEAD")
    if commit is None or _git("ls-files", "--error-unmatch", "__init__.py") is None:
        # No checkout, or one that merely surrounds an installed package.
        sent = PACKAGE / SENT
        return sent.read_text(encoding="ascii").strip() if sent.is_file() else None
    changes = _git("status", "--porcelain", "--untracked-files=no", "--", ".")
    return commit + ("+changes" if changes else "")


def _git(*arguments: str) -> str | None:
    """A git command's output, or `None` where git is absent or refuses."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=PACKAGE, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None

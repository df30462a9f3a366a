"""Where a result comes from: the code, the libraries and the machine that made it."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import platform
import subprocess
from pathlib import Path

PACKAGE = Path(__file__).parent
# What only reads arguments and prints cannot change a result, nor can what makes contexts: a run
# reads them as data, by their hash.
WITHOUT_EFFECT = ("cli.py", "commands/", "contexts/")
LIBRARIES = (
    "shap-ca", "torch", "torchvision", "transformers", "tokenizers", "numpy", "spacy",
    "pytorch-crf", "seqeval", "safetensors", "pillow", "pydantic",
)  # fmt: skip


def code_fingerprint() -> str:
    """Hash of the package's syntax trees and bundled assets.

    Comments, docstrings, layout and the command lines leave it as it is, since none of them can
    change a result.

    Returns:
        16 hexadecimal digits.
    """
    return fingerprint_folder(PACKAGE)


@functools.cache
def fingerprint_folder(folder: Path) -> str:
    """`code_fingerprint` of the Python package in a folder.

    Args:
        folder: The package's top folder.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for path in sorted((*folder.rglob("*.py"), *folder.glob("assets/**/*"))):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or "__pycache__" in name or name.startswith(WITHOUT_EFFECT):
            continue
        if path.suffix == ".py":
            content = syntax_without_text(path.read_text(encoding="utf-8")).encode()
        else:
            content = path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def syntax_without_text(source: str) -> str:
    """A module's syntax tree as text, without docstrings and other strings that stand alone.

    Args:
        source: Python source code.

    Returns:
        The dumped tree.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [line for line in body if not _is_text(line)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


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
        The commit, or none where the package does not run from a git checkout.
    """
    commit = _git("rev-parse", "HEAD")
    if commit is None or _git("ls-files", "--error-unmatch", "__init__.py") is None:
        return None  # no checkout, or a checkout that merely surrounds an installed package
    changes = _git("status", "--porcelain", "--untracked-files=no", "--", ".")
    return commit + ("+changes" if changes else "")


def _git(*arguments: str) -> str | None:
    """A git command's output, or none where git is absent or refuses."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=PACKAGE, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None

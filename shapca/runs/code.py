"""The package's code by what it defines: one hash a definition, whatever file it stands in.

Moving a file, renaming it, sorting imports, comments and docstrings leave every hash as it is;
what a definition does, or which library's function it calls, does not.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

PACKAGE = Path(__file__).parent.parent
# What only reads arguments and prints cannot change a result, nor can what makes data and contexts:
# a run reads them by their hash.
WITHOUT_EFFECT = (
    "__main__.py", "cli.py", "commands/", "contexts/", "data/preparation/", "data/synthetic/",
)  # fmt: skip
# A package's face hands names on; the definitions behind them count.
FACE = {"__all__", "__getattr__", "__dir__", "__version__"}
ASSETS = (".json", ".txt")
TYPING_ONLY = "TYPE_CHECKING"


def code_fingerprint() -> str:
    """Hash of all that the package defines, and of the assets that it reads.

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
    found = sorted(_by_name(definitions(folder)).elements())
    return _hash("\n".join(" ".join(pair) for pair in found), 16)


@functools.cache
def definitions(folder: Path = PACKAGE) -> Mapping[str, str]:
    """Hash of each definition of a package that can change a result.

    Args:
        folder: The package's top folder.

    Returns:
        `module.name` to 8 hexadecimal digits; `assets/file` of a bundled file.
    """
    hashes: dict[str, str] = {}
    for path in sorted((*folder.rglob("*.py"), *folder.glob("assets/**/*"))):
        place = path.relative_to(folder).as_posix()
        if place.startswith(WITHOUT_EFFECT) or not path.is_file():
            continue
        if path.suffix in ASSETS:
            hashes[place] = _hash(path.read_bytes().hex())
        elif path.suffix == ".py":
            module = f"{folder.name}/{place}".removesuffix(".py").removesuffix("/__init__")
            source = path.read_text(encoding="utf-8")
            for name, text in definitions_of(source, folder).items():
                hashes[f"{module.replace('/', '.')}.{name}"] = _hash(text)
    return hashes


def changed_definitions(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Names of what is not the same in two versions of the package, as `definitions` gives them.

    A definition that merely stands in another file is the same.
    """
    same = _by_name(before) & _by_name(now)
    changed = set()
    for version in (before, now):
        left = Counter(same)
        for name, value in version.items():
            pair = _pair(name, value)
            if left[pair]:
                left[pair] -= 1
            else:
                changed.add(name)
    return sorted(changed)


def definitions_of(source: str, folder: Path = PACKAGE) -> dict[str, str]:
    """What a module defines at its top level, as text that changes only with its meaning.

    Args:
        source: Python source code.
        folder: The package that it belongs to: names that come from it count without their module.

    Returns:
        Name to syntax tree; statements without a name stand under `(statements)`.
    """
    tree = ast.parse(source)
    imported = dict(_imported(tree, folder))
    parts: dict[str, list[str]] = defaultdict(list)
    for node in tree.body:
        if _is_import(node) or _is_text(node) or FACE & set(names := _names(node)):
            continue
        node = _Meaning(imported).visit(node)
        used = {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
        origins = sorted((n, imported[n]) for n in used & imported.keys() if imported[n] != n)
        parts[", ".join(names) or "(statements)"].append(f"{_dump(node)} {origins}")
    return {name: "\n".join(texts) for name, texts in parts.items()}


def _dump(tree: ast.AST) -> str:
    """A syntax tree as text that every supported Python writes alike, as 3.11 does."""
    for node in ast.walk(tree):
        if not getattr(node, "type_params", True):  # an empty field since 3.12
            del node.type_params  # type: ignore[attr-defined]
    if sys.version_info >= (3, 13):
        return ast.dump(tree, show_empty=True)
    return ast.dump(tree)


class _Meaning(ast.NodeTransformer):
    """Drops docstrings and imports, and names what a module of the package gives by itself."""

    def __init__(self, imported: Mapping[str, str]) -> None:
        self._modules = {name for name, origin in imported.items() if origin == "(module)"}

    def generic_visit(self, node: ast.AST) -> ast.AST:
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [  # type: ignore[attr-defined]
                line for line in body if not _is_text(line) and not _is_import(line)
            ]
        return super().generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if isinstance(node.value, ast.Name) and node.value.id in self._modules:
            return ast.Name(node.attr, node.ctx)
        return self.generic_visit(node)


def _imported(tree: ast.Module, folder: Path) -> Iterator[tuple[str, str]]:
    """Names that a module imports anywhere, each with where it comes from.

    Of the package itself the name alone counts, or that it is a module.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name.partition(".")[0]
                yield name, alias.name if alias.asname else name
        elif isinstance(node, ast.ImportFrom):
            top, _, below = (node.module or "").partition(".")
            for alias in node.names:
                origin = f"{node.module}.{alias.name}"
                if top == folder.name:
                    place = folder.joinpath(*below.split("."), alias.name)
                    is_module = place.is_dir() or place.with_suffix(".py").is_file()
                    origin = "(module)" if is_module else alias.name
                yield alias.asname or alias.name, origin


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [
        name.id
        for target in targets
        if target is not None
        for name in ast.walk(target)
        if isinstance(name, ast.Name)
    ]


def _is_import(node: ast.AST) -> bool:
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name):
        return node.test.id == TYPING_ONLY
    return isinstance(node, ast.Import | ast.ImportFrom)


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _pair(name: str, value: str) -> tuple[str, str]:
    return name.rpartition(".")[2] if "/" not in name else name, value


def _by_name(hashes: Mapping[str, str]) -> Counter[tuple[str, str]]:
    return Counter(_pair(name, value) for name, value in hashes.items())


def _hash(text: str, digits: int = 8) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]

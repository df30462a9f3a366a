"""The package's code by what it defines: one hash a definition, whatever file it stands in.

Moving a file, renaming it, sorting imports, comments and docstrings leave every hash as it is;
what a definition does, or which library's function it calls, does not.
"""

from __future__ import annotations

import ast
import functools
import hashlib
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
        meaning = _Meaning(imported)
        text = meaning.text(node)
        used = meaning.used & imported.keys()
        origins = sorted((n, imported[n]) for n in used if imported[n] != n)
        parts[", ".join(names) or "(statements)"].append(f"{text} {origins}")
    return {name: "\n".join(texts) for name, texts in parts.items()}


class _Meaning:
    """Writes a syntax tree as text that every supported Python writes alike.

    It is what `ast.dump` of Python 3.11 writes, without docstrings and imports, and with what a
    module of the package gives named by itself.

    Attributes:
        used: Names that stand in what was written.
    """

    def __init__(self, imported: Mapping[str, str]) -> None:
        self.used: set[str] = set()
        self._modules = {name for name, origin in imported.items() if origin == "(module)"}

    def text(self, node: ast.AST) -> str:
        """A node with all below it."""
        if isinstance(node, ast.Name):
            self.used.add(node.id)
        elif isinstance(node, ast.Attribute) and getattr(node.value, "id", None) in self._modules:
            return self.text(ast.Name(node.attr, node.ctx))
        kind, parts = type(node), []
        for name in kind._fields:
            value = getattr(node, name, None)
            if isinstance(value, ast.AST):
                parts.append(f"{name}={self.text(value)}")
            elif isinstance(value, list):
                if name == "type_params" and not value:  # an empty field since 3.12
                    continue
                if name == "body":
                    value = [one for one in value if not _is_text(one) and not _is_import(one)]
                texts = [self.text(one) if isinstance(one, ast.AST) else repr(one) for one in value]
                parts.append(f"{name}=[{', '.join(texts)}]")
            elif value is not None or getattr(kind, name, ...) is not None:
                parts.append(f"{name}={value!r}")
        return f"{kind.__name__}({', '.join(parts)})"


def _imported(tree: ast.Module, folder: Path) -> Iterator[tuple[str, str]]:
    """Names that a module imports anywhere, each with where it comes from.

    Of the package itself the name alone counts, or that it is a module.
    """
    for node in _statements(tree):
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


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """What may be an import, in the order of `ast.walk`, which takes long over expressions."""
    level: list[ast.AST] = [tree]
    while level:
        yield from level
        level = [
            child
            for node in level
            for name in ("body", "handlers", "orelse", "finalbody", "cases")
            for child in _listed(node, name)
        ]


def _listed(node: ast.AST, name: str) -> list[ast.AST]:
    found = getattr(node, name, None)
    return found if isinstance(found, list) else []  # a lambda's body is one expression


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

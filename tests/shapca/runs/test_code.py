"""The code's fingerprint changes with what can change a result, and with nothing else."""

from __future__ import annotations

import ast
import re
import shutil
import sys
from pathlib import Path

import pytest

import shapca
from shapca.runs.code import (
    PACKAGE,
    _is_import,
    _is_text,
    _Meaning,
    changed_definitions,
    code_fingerprint,
    definitions,
    definitions_of,
    fingerprint_folder,
)
from shapca.runs.provenance import git_commit, library_versions


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="later ones write more")
def test_a_tree_is_written_as_python_3_11_dumps_it() -> None:
    for path in (PACKAGE / "shapley").glob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        for node in ast.walk(tree):  # docstrings and imports are left out
            if isinstance(body := getattr(node, "body", None), list):
                node.body = [  # type: ignore[attr-defined]
                    line for line in body if not _is_text(line) and not _is_import(line)
                ]
        assert _Meaning({}).text(tree) == ast.dump(tree)


SOURCE = '''"""Module."""
import math
from torch.nn.functional import gelu
from shapca.shapley import exact

RATE = 1
"""About the rate."""

class Thing:
    """A thing."""
    width: int = 3
    """Its width."""

    def area(self):
        """Area."""
        from shapca.shapley import cyclic
        return gelu(exact(cyclic(self.width ** math.pi)))  # squared
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Area.", "The area."),
        ("About the rate.", "Rate."),
        ("# squared", "# to the power of pi"),
        ("\n\n", "\n\n\n"),
        ('"""Area."""\n        ', ""),
        ("from shapca.shapley import exact\n", "from shapca.shapley.integral import exact\n"),
        ("        from shapca.shapley import cyclic\n", ""),
        ("import math\nfrom torch.nn.functional import gelu\n",
         "from torch.nn.functional import gelu\nimport math\n"),
        ("RATE = 1", '__all__ = ["Thing"]\nRATE = 1'),
    ],
)  # fmt: skip
def test_words_about_code_and_where_it_stands_do_not_count(old: str, new: str) -> None:
    changed = SOURCE.replace(old, new)
    assert changed != SOURCE
    if "cyclic\n" in old:  # it may as well be imported on top
        changed = changed.replace("import exact", "import cyclic, exact")
    assert definitions_of(changed) == definitions_of(SOURCE)


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("= 1", "= 2", "RATE"),
        ("RATE = 1", 'RATE = "1"', "RATE"),
        ("** math", "* math", "Thing"),
        ("width: int = 3", "width: int = 4", "Thing"),
        ("import gelu", "import relu as gelu", "Thing"),
        ("torch.nn.functional import", "torch.special import", "Thing"),
        ("shapley import exact", "shapley import monte_carlo as exact", "Thing"),
        ("shapley import cyclic", "shapley import monte_carlo as cyclic", "Thing"),
    ],
)
def test_code_counts_and_is_named(old: str, new: str, name: str) -> None:
    before, after = definitions_of(SOURCE), definitions_of(SOURCE.replace(old, new))
    assert [key for key in before if before[key] != after[key]] == [name]


def test_a_module_used_by_its_name_may_be_renamed() -> None:
    by_name = "from shapca import shapley\ndef f(x):\n    return shapley.exact(x)\n"
    renamed = "from shapca import shapley as game\ndef f(x):\n    return game.exact(x)\n"
    direct = "from shapca.shapley import exact\ndef f(x):\n    return exact(x)\n"
    assert definitions_of(by_name) == definitions_of(renamed) == definitions_of(direct)


def package(folder: Path, **files: str) -> Path:
    contents = {
        "a.py": SOURCE,
        "cli.py": "x = 1",
        "commands/train.py": "x = 1",
        "assets/words.txt": "a\n",
    } | {k.replace("__", "/"): v for k, v in files.items()}
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def test_which_files_count(tmp_path: Path) -> None:
    base = fingerprint_folder(package(tmp_path / "base"))
    for name, files, same in [
        ("same", {}, True),
        ("cli", {"cli.py": "x = 2"}, True),
        ("command", {"commands/train.py": "x = 2"}, True),
        ("empty", {"b.py": '"""Nothing."""\nimport os\n'}, True),
        ("code", {"a.py": SOURCE + "y = 1\n"}, False),
        ("new", {"b.py": "y = 1\n"}, False),
        ("asset", {"assets/words.txt": "b\n"}, False),
    ]:
        found = fingerprint_folder(package(tmp_path / name, **files))
        assert (found == base) == same, name


def test_moving_a_module_of_this_package_changes_nothing(tmp_path: Path) -> None:
    """The fusion moves up and gets another name, and whoever imports it follows."""
    here = Path(shapca.__file__).parent
    moved = tmp_path / "shapca"
    shutil.copytree(here, moved, ignore=shutil.ignore_patterns("__pycache__"))
    (moved / "model" / "fusion.py").rename(moved / "fusing.py")
    num_changed = 0
    for path in moved.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        changed = re.sub(r"\bshapca\.model\.fusion\b", "shapca.fusing", text)
        num_changed += changed != text
        path.write_text(changed, encoding="utf-8")
    assert num_changed >= 1
    assert fingerprint_folder(moved) == code_fingerprint()
    assert changed_definitions(definitions(here), definitions(moved)) == []


def test_a_changed_definition_of_this_package_is_named(tmp_path: Path) -> None:
    here = Path(shapca.__file__).parent
    edited = tmp_path / "shapca"
    shutil.copytree(here, edited, ignore=shutil.ignore_patterns("__pycache__"))
    path = edited / "training" / "optimisation.py"
    source = path.read_text(encoding="utf-8")
    path.write_text(source.replace("math.pi", "3.0"), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != source
    assert fingerprint_folder(edited) != code_fingerprint()
    changed = changed_definitions(definitions(here), definitions(edited))
    assert changed == ["shapca.training.optimisation.warmup_cosine"]


def test_changes_of_the_same_name_in_two_places() -> None:
    before = {"p.a._name": "1", "p.b._name": "2", "p.c": "3", "assets/x.txt": "4"}
    assert changed_definitions(before, {"p.z._name": "2", "p.a._name": "1", "p.c": "3",
                                        "assets/x.txt": "4"}) == []  # fmt: skip
    now = {"p.a._name": "1", "p.b._name": "9", "p.c": "3", "assets/x.txt": "5", "p.d": "6"}
    assert changed_definitions(before, now) == ["assets/x.txt", "p.b._name", "p.d"]


def test_this_package_has_a_fingerprint_and_versions() -> None:
    assert len(code_fingerprint()) == 16
    assert code_fingerprint() == code_fingerprint()
    versions = library_versions()
    assert versions["torch"].count(".") >= 2
    assert "not installed" not in versions.values()
    commit = git_commit()
    assert commit is None or len(commit.removesuffix("+changes")) == 40


def test_every_python_writes_a_definition_alike() -> None:
    """What 3.11 says of it; 3.12 has a field more, and 3.13 leaves empty ones out."""
    source = "@dataclass\nclass A:\n    def f(self, *a: int) -> str:\n        return f'{a!r}'\n"
    text = (
        "ClassDef(name='A', bases=[], keywords=[], body=[FunctionDef(name='f', "
        "args=arguments(posonlyargs=[], args=[arg(arg='self')], vararg=arg(arg='a', "
        "annotation=Name(id='int', ctx=Load())), kwonlyargs=[], kw_defaults=[], defaults=[]), "
        "body=[Return(value=JoinedStr(values=[FormattedValue(value=Name(id='a', ctx=Load()), "
        "conversion=114)]))], decorator_list=[], returns=Name(id='str', ctx=Load()))], "
        "decorator_list=[Name(id='dataclass', ctx=Load())]) []"
    )
    assert definitions_of(source) == {"A": text}

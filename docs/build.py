"""Writes the documentation as pages into a folder: guides, both command lines, the Python API.

    python docs/build.py site

The guides are `README.md`, the files beside it and beside this one; the rest is made from the code.
"""

from __future__ import annotations

import re
import shutil
import sys
from importlib import import_module
from pathlib import Path

import pdoc
import typer
from markdown2 import markdown
from typer.cli import get_docs_for_click

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = ["tables", "fenced-code-blocks", "header-ids", "code-friendly"]
COMMAND_LINES = ("shapca", "orchestrator")
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title} · Shap-CA</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem;
  color-scheme: light dark; }}
img {{ max-width: 100%; }} pre {{ overflow-x: auto; padding: .6rem; background: #8881; }}
table {{ border-collapse: collapse; }} td, th {{ padding: .2rem .6rem; }}
nav a {{ margin-right: 1rem; }}
</style><nav>{links}</nav><main>{body}</main></html>
"""


def command_line(package: str) -> str:
    """The Markdown of a command line: each command with its arguments, options and examples."""
    command = typer.main.get_command(import_module(f"{package}.cli").app)
    context = command.make_context(package, [], resilient_parsing=True)
    return get_docs_for_click(obj=command, ctx=context, name=package)


def page_of(file: Path) -> str:
    """The name of a file's page."""
    return "index" if file == ROOT / "README.md" else file.stem.lower()


def relinked(file: Path, pages: dict[Path, str]) -> str:
    """A Markdown file's text whose links lead to pages and pictures."""

    def target(found: re.Match[str]) -> str:
        place = (file.parent / found[1]).resolve()
        if place in pages:
            return f"]({pages[place]}.html{found[2] or ''})"
        if place.parent == ROOT / "docs" / "pictures":
            return f"](pictures/{place.name})"
        return found[0]

    return re.sub(r"\]\(([^):#]+)(#[^)]*)?\)", target, file.read_text(encoding="utf-8"))


def build(out: Path) -> None:
    """Write all pages.

    Args:
        out: The folder; what an earlier run wrote there is replaced.
    """
    files = {file: page_of(file) for file in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))}
    files[ROOT / "mlflow/README.md"] = "tracking-server"
    texts = {page: relinked(file, files) for file, page in sorted(files.items())}
    texts |= {f"command-{package}": command_line(package) for package in COMMAND_LINES}
    links = " ".join(f'<a href="{name}.html">{name}</a>' for name in texts)
    links += " " + " ".join(f'<a href="api/{name}.html">API {name}</a>' for name in COMMAND_LINES)

    out.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        page = PAGE.format(title=name, links=links, body=markdown(text, extras=EXTRAS))
        (out / f"{name}.html").write_text(page, encoding="utf-8")
    shutil.copytree(ROOT / "docs" / "pictures", out / "pictures", dirs_exist_ok=True)

    for package in COMMAND_LINES:  # names that are imported when they are first asked for
        module = import_module(package)
        module.__all__ = dir(module)
        for name in module.__all__:
            setattr(module, name, getattr(module, name))
    pdoc.render.configure(docformat="google", show_source=False)
    pdoc.pdoc(*COMMAND_LINES, output_directory=out / "api")


if __name__ == "__main__":
    build(Path(sys.argv[1]))

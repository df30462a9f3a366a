"""A study's tables and figures as files of the storage.

Layout: sweeps/<study>/tables/<study>.md|.csv|.tex|.json, and .png and .svg of its figure
"""

from __future__ import annotations

from pathlib import Path

from orchestrator.study_plan import StudyPlan
from orchestrator.study_tables import StudyTables
from orchestrator.table_formats import to_csv, to_json, to_latex, to_markdown
from orchestrator.tables import Table
from shapca.storage import ObjectStore
from shapca.storage import to_json as json_bytes


def write_files(
    store: ObjectStore, plan: StudyPlan, table: Table, tables: StudyTables
) -> dict[str, str]:
    """Write the files of a study; the same content is not written again.

    Returns:
        File name to the name of its object in the storage.
    """
    name = plan.study.name
    contents = {
        f"{name}.md": to_markdown(table).encode(),
        f"{name}.csv": to_csv(table).encode(),
        f"{name}.tex": to_latex(table).encode(),
        f"{name}.json": json_bytes(to_json(table)),
    }
    files = {}
    for file, content in contents.items():
        files[file] = f"sweeps/{name}/tables/{file}"
        if store.get(files[file]) != content:
            store.put(files[file], content)
    return files


def copy_files(store: ObjectStore, files: dict[str, str], folder: Path) -> list[Path]:
    """Copy a study's files out of the storage into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    copies = []
    for file, name in files.items():
        content = store.get(name)
        if content is not None:
            copies.append(folder / file)
            copies[-1].write_bytes(content)
    return copies

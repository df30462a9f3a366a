"""A study's tables and figures as files of the storage.

Layout: sweeps/<study>/tables/<study>.md|.csv|.tex|.json, and .png, .svg and .pdf of its
figure
"""

from __future__ import annotations

from orchestrator.reports.charts.drawing import drawn
from orchestrator.store.predictions import stored_predictions
from orchestrator.store.sweep_folder import TABLES, in_sweep
from orchestrator.studies.cases import Selection, cases
from orchestrator.studies.config import CaseFigure, CurveFigure
from orchestrator.studies.figures import curves, side_by_side
from orchestrator.studies.tables import StudyTables
from orchestrator.tables.formats import table_files, to_json
from orchestrator.tables.table import Table
from shapca.errors import InputError
from shapca.storage import to_json as json_bytes


def write_files(tables: StudyTables, table: Table) -> dict[str, str]:
    """Write the files of a study; the same content is not written again.

    Returns:
        File name to the name of its object in the storage.
    """
    store, study = tables.cells.store, tables.plan.study
    name, figure = study.name, study.figure
    contents = {**table_files(table), f"{name}.json": json_bytes(to_json(table))}
    pictures: dict[str, bytes] = {}
    if isinstance(figure, CurveFigure):
        chart = curves(study, table, figure)
        pictures = {} if chart is None else drawn(chart, note=chart.caption)
    elif isinstance(figure, CaseFigure):
        selection = shown_cases(tables, figure)
        if selection is not None:
            note = f"{selection.how} Models of seed {study.seeds[0]}."
            pictures = side_by_side(study.title, selection.cases, note)
    contents |= {f"{name}.{suffix}": content for suffix, content in pictures.items()}
    files = {}
    for file, content in contents.items():
        files[file] = in_sweep(name, TABLES + file)
        if store.get(files[file]) != content:
            store.put(files[file], content)
    return files


def shown_cases(tables: StudyTables, figure: CaseFigure) -> Selection | None:
    """The posts that a figure shows; None while predictions of a system are missing."""
    plan, factory = tables.plan, tables.factory
    config = plan.configs[figure.rows[-1], figure.data]
    systems = {}
    try:
        data = factory.data(config)
        for title in figure.rows:
            cell = factory.cell(plan.configs[title, figure.data], plan.study.seeds[0])
            predictions = stored_predictions(tables.cells, cell.key, data)
            if predictions is None:
                return None
            systems[title] = predictions
    except InputError:
        return None  # its data set is not there: the table says so
    return cases(data, config, systems, posts=figure.posts, num_posts=figure.num_posts)

"""The report as one HTML page: no network, light and dark, on a desk and on a phone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.resources import files

from orchestrator.reports import origin, sections
from orchestrator.reports.charts.charts import Chart, Parallel
from orchestrator.reports.charts.drawing import element_of
from orchestrator.reports.content import Content
from orchestrator.reports.markup import Html, element
from orchestrator.reports.result_tables import result_tables
from orchestrator.search.importance import FEWEST_TRIALS
from orchestrator.tables.table import Table

# Nothing may be loaded from anywhere, whatever stood in a name or an error message.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
_SEARCH = ("history", "expected", "parallel", "importance", "cost")
_SEEDS = ("seeds", "validation_test", "curves", "losses")


def page_of(content: Content, charts: Sequence[Chart], tables: Sequence[Table] = ()) -> bytes:
    """The page.

    Args:
        content: What it shows.
        charts: Its charts.
        tables: A study's.
    """
    search = "Training" if content.is_listed else "Search"
    parts = [
        ("tables", "Tables", result_tables(tables) if tables else None),
        ("configurations", "Configurations", sections.configurations(content)),
        ("search", search, _search(content, charts)),
        ("seeds", "Seeds and learning", _figures(charts, _SEEDS)),
        ("ends", "Failures and pruned trials", sections.ends(content)),
        ("cost", "Cost", origin.cost(content)),
        ("reproduce", "To reproduce", origin.reproduction(content)),
        ("provenance", "Data, code and versions", origin.provenance(content)),
    ]
    there = [part for part in parts if part[2] is not None]
    body = [
        sections.head(content, [(key, title) for key, title, _ in there]),
        sections.hero(content),
        *(element("section", element("h2", title), part, id=key) for key, title, part in there),
    ]
    return document(f"{content.name}: report", body, content.made_at)


def document(title: str, body: Sequence[Html], made_at: float) -> bytes:
    """A whole HTML document around a body."""
    clock = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(made_at))
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("title", title),
        element("style", Html(_asset("report.css"))),
    )
    footer = element("footer", f"Made {clock} from the storage alone. Scores are percentages.")
    content = element(
        "body",
        element("main", body, footer),
        element("div", id="tip", hidden=True, role="status"),
        element("script", Html(_asset("report.js"))),
    )
    return f"<!doctype html>\n{element('html', head, content, lang='en').text}\n".encode()


def figure(chart: Chart) -> Html:
    """A chart with its heading and caption."""
    class_ = "card full" if isinstance(chart, Parallel) else "card"
    heading = element("h3", chart.title), element("p", chart.caption)
    return element("figure", heading, element_of(chart), class_=class_)


def _search(content: Content, charts: Sequence[Chart]) -> Html | None:
    shown = _figures(charts, _SEARCH)
    if shown is None or content.is_listed or content.importance is not None:
        return shown
    text = (
        f"Hyper-parameter importance is not shown: it takes {FEWEST_TRIALS} finished trials of the "
        "search whose scores differ."
    )
    return element("div", shown, element("p", text, class_="soft small"))


def _figures(charts: Sequence[Chart], keys: Sequence[str]) -> Html | None:
    by_key = {chart.key: chart for chart in charts}
    chosen = [by_key[key] for key in keys if key in by_key]
    if not chosen:
        return None
    return element("div", map(figure, chosen), class_="grid2")


def _asset(name: str) -> str:
    return files("orchestrator.reports").joinpath("assets", name).read_text(encoding="utf-8")

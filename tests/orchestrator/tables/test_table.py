"""Tables as value objects and as text: what a cell says of itself is never lost."""

from __future__ import annotations

import csv
import io
import math
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats

from orchestrator.tables.formats import (
    cell_text,
    csv_text,
    harmless,
    latex,
    markdown,
    to_csv,
    to_json,
    to_latex,
    to_markdown,
)
from orchestrator.tables.table import Column, Comparison, Row, Table, TableCell, corrected


def comparison(p_value: float, num_seeds: int = 3, mean: float = -2.0) -> Comparison:
    seeds = tuple(range(1, num_seeds + 1))
    return Comparison(mean, mean - 1, mean + 1, p_value, p_value, seeds, 723)


def example() -> Table:
    ours = {
        "T-15": TableCell.measured("done", {1: 70.0, 2: 72.0, 3: 74.0}, target=76.93),
        "T-17": TableCell.measured("stale", {1: 80.0}, missing={2: "failed: out of memory"}),
        "size": TableCell("done", mean=170.701192, target=170.7),
    }
    ablated = {
        "T-15": replace(
            TableCell.measured("done", {1: 69.0, 2: 70.0, 3: 71.0}), against=comparison(0.004)
        ),
        "T-17": TableCell("n/a", reason="the row changes nothing for mner"),
        "size": TableCell("missing", reason="data.dataset: 'twitter2015' is not under data"),
    }
    columns = (
        Column("T-15", "F1", "Twitter & co."),
        Column("T-17", "F1 100%", "Twitter & co."),
        Column("size", "Param.", digits=1, better="low", unit="M"),
    )
    return Table(
        name="table1",
        title="Scores of Shap-CA_(α, β)",
        columns=columns,
        rows=(
            Row("umt", "UMT", {"T-15": TableCell.published(73.41)}, "Published"),
            Row("ours", "Shap-CA", ours, "Here"),
            Row("ablated", "w/o Shapley Value", ablated, "Here"),
        ),
        reference="ours",
    )


def test_a_measured_cell_has_students_interval_and_named_seeds() -> None:
    cell = TableCell.measured("done", {1: 70.0, 5: 72.0, 9: 74.0}, target=71.0)
    low, high = stats.t.interval(0.95, 2, loc=72.0, scale=2 / math.sqrt(3))
    assert (cell.mean, cell.std) == (72.0, 2.0)
    assert (cell.low, cell.high) == (pytest.approx(low), pytest.approx(high))
    assert cell.seeds == (1, 5, 9)
    assert cell.difference == pytest.approx(1.0)
    one = TableCell.measured("done", {1: 70.0})
    assert (one.mean, one.std, one.low) == (70.0, None, None)
    assert TableCell.measured("missing", {}, missing={1: "never run"}).mean is None
    assert TableCell.published(71.81).difference is None  # nothing was measured


def test_the_best_is_measured_and_complete() -> None:
    table = example()
    first, second, size = table.columns
    assert table.best(first) == {"ours"}
    assert table.best(second) == frozenset()  # a stale cell is not shown as the best
    assert table.best(size) == frozenset()  # nor is one that has nothing beside it
    rows = (*table.rows, Row("tie", "Tie", {"T-15": TableCell("done", mean=72.0004)}))
    assert replace(table, rows=rows).best(first) == {"ours", "tie"}


def test_what_a_cell_shows() -> None:
    table = example()
    shown = {(row.key, column.key): cell_text(cell, column) for row, column, cell in table.cells()}
    assert shown == {
        ("umt", "T-15"): "73.41†",
        ("ours", "T-15"): "72.00 ± 2.00 [76.93, -4.93]",
        ("ours", "T-17"): "80.00‡ (1/2)",
        ("ours", "size"): "170.7M [170.7, +0.0]",
        ("ablated", "T-15"): "70.00 ± 1.00**",
        ("ablated", "T-17"): "n/a",
        ("ablated", "size"): "missing",
    }


def test_remarks_say_what_the_marks_mean_and_nothing_else() -> None:
    remarks = "\n".join(example().remarks())
    for text in (
        "sample standard deviation over the seeds (1 2 3)",
        "differs from Shap-CA",
        "Holm-corrected over 1 comparison.",
        "3 seeds alone (sign test) can reach no p below 0.25",
        "† published",
        "‡ stale",
        "§ incomplete",
    ):
        assert text in remarks
    plain = Table("t", "T", (Column("a", "A"),), (Row("r", "R", {"a": TableCell("n/a")}),))
    assert plain.remarks() == ()


def test_holm_goes_over_all_comparisons_of_a_table() -> None:
    columns = (Column("a", "A"), Column("b", "B"))
    values = [[0.01, 0.04], [0.03, math.nan]]
    rows = tuple(
        Row(
            str(i),
            str(i),
            {
                key: TableCell("done", mean=1.0, against=comparison(p, 1 if math.isnan(p) else 3))
                for key, p in zip("ab", row, strict=True)
            },
        )
        for i, row in enumerate(values)
    )
    table = corrected(Table("t", "T", columns, rows))
    found = [cell.against.corrected for _, _, cell in table.cells() if cell.against]
    assert found[:3] == pytest.approx([0.03, 0.06, 0.06])
    assert math.isnan(found[3])
    marks = [cell.against.mark for _, _, cell in table.cells() if cell.against]
    assert marks == ["*", "", "", ""]


def test_markdown_is_a_table_and_names_what_is_missing() -> None:
    text = to_markdown(example())
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") - line.count("\\|") for line in lines}) == 1
    assert "**72.00 ± 2.00**" in text
    assert "70.00 ± 1.00\\*\\*" in text
    assert "seed 2: failed: out of memory" in text
    assert "'twitter2015' is not under data" in text


def test_intervals_and_differences_are_said_in_words() -> None:
    doubts = example().doubts()
    assert doubts == (
        "Shap-CA, T-15: 95% interval 67.03 to 76.97",
        "w/o Shapley Value, T-15: 95% interval 67.52 to 72.48; "
        "-2.00 to the reference (-3.00 to -1.00), p = 0.004, corrected 0.004, seeds 1 2 3",
    )
    assert all(line.replace("*", "") in to_markdown(example()) for line in doubts)


def test_csv_keeps_everything_and_runs_nothing_in_a_spreadsheet() -> None:
    table = example()
    risky = Row("risky", "=HYPERLINK(1)", {"T-15": TableCell.measured("done", {1: -1.5})})
    table = replace(table, rows=(*table.rows, risky))
    records = list(csv.DictReader(io.StringIO(to_csv(table))))
    assert len(records) == len(table.cells())
    by_place = {(record["row"], record["column"]): record for record in records}
    ours = by_place["Shap-CA", "Twitter & co. F1"]
    assert ours["scores"] == "1: 70.0000; 2: 72.0000; 3: 74.0000"
    assert float(ours["difference"]) == pytest.approx(-4.93)
    assert by_place["w/o Shapley Value", "Twitter & co. F1"]["p"] == "0.004"
    assert by_place["'=HYPERLINK(1)", "Twitter & co. F1"]["mean"] == "-1.5"


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-cmd", "@SUM(A1)", "＝1+1", " =1+1"])
def test_no_text_begins_a_formula(text: str) -> None:
    assert harmless(text) == f"'{text}"


@pytest.mark.parametrize(
    ("text", "cell"),
    [("\t=1+1", "' =1+1"), ("\r=1+1", "' =1+1"), ("a\r=1+1", "a =1+1"), ("a\r\n=1", "a =1")],
)
def test_no_formula_follows_a_line_break(text: str, cell: str) -> None:
    assert harmless(text) == cell
    assert csv_text([["x", text]]) == f"x,{cell}\n"


def test_markdown_holds_no_html_and_no_link() -> None:
    text = markdown("<img src=x onerror=y> [a](javascript:b) ![c](http://d)\n| *e* `f` \\ & g")
    assert text == (
        "&lt;img src=x onerror=y> [a]\\(javascript:b) ![c]\\(http://d) "
        "\\| \\*e\\* \\`f\\` \\\\ &amp; g"
    )
    assert markdown("76.93 ± 0.41 [76.50, +0.43]") == "76.93 ± 0.41 [76.50, +0.43]"


@pytest.mark.parametrize("value", ["-1.5", "+2e-4", "UMT = 5", "", None, -3, 0.5])
def test_numbers_and_other_text_stay_as_they_are(value: object) -> None:
    assert harmless(value) is value


def test_json_has_no_nan() -> None:
    table = example()
    cell = replace(table.rows[2].cells["T-15"], against=comparison(math.nan, 1))
    row = replace(table.rows[2], cells={"T-15": cell})
    record = to_json(replace(table, rows=(row,)))
    assert record["rows"][0]["cells"]["T-15"]["against"]["p_value"] is None


def test_latex_is_well_formed() -> None:
    text = to_latex(example())
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    lines = [line for line in body.splitlines() if line.endswith(r"\\")]
    widths = {
        len(re.findall(r"(?<!\\)&", line))
        + sum(int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", line))
        for line in lines
    }
    assert widths == {3}  # a title and three columns in every line
    assert r"\cmidrule(lr){2-3}" in text
    assert r"\textbf{72.00 $\pm$ 2.00}" in text
    assert r"70.00 $\pm$ 1.00\textsuperscript{**}" in text
    assert r"73.41\textsuperscript{\dag}" in text
    assert r"Twitter \& co." in text
    assert r"F1 100\%" in text
    assert r"Shap-CA\_($\alpha$, $\beta$)" in text
    for begin, end in (("{", "}"), (r"\begin", r"\end")):
        assert len(re.findall(rf"(?<!\\){re.escape(begin)}", text)) == len(
            re.findall(rf"(?<!\\){re.escape(end)}", text)
        )


def test_latex_escapes_every_special_letter() -> None:
    assert latex("a_b & 5% of $x #1 {y} ~ ^ \\") == (
        r"a\_b \& 5\% of \$x \#1 \{y\} \textasciitilde{} \textasciicircum{} \textbackslash{}"
    )


@pytest.mark.skipif(
    not (shutil.which("tectonic") or shutil.which("pdflatex")),
    reason="neither tectonic nor pdflatex is installed: only the structure was checked",
)
def test_latex_compiles(tmp_path: Path) -> None:
    file = tmp_path / "tables.tex"
    head = r"\documentclass{article}\usepackage[utf8]{inputenc}\usepackage[T1]{fontenc}"
    head += r"\usepackage{booktabs}\usepackage[margin=1.5cm,landscape]{geometry}\begin{document}"
    file.write_text(f"{head}\n{to_latex(example())}\\end{{document}}\n", encoding="utf-8")
    if shutil.which("tectonic"):
        command = ["tectonic", str(file)]
    else:
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", str(file)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:]
    assert (tmp_path / "tables.pdf").stat().st_size > 1000

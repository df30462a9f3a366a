"""Every study that ships is loaded, and its models are built without weights or memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.store.cells import Cell
from orchestrator.studies.config import PARAMETERS, StudyConfig
from orchestrator.studies.plan import StudyPlan, plan_study
from shapca.build import build_on_meta
from shapca.config import ExperimentConfig
from shapca.data.preparation.readers import READERS
from shapca.model.parameters import model_size
from tests.paths import ROOT
from tests.whole.test_spaces import LABELS

PAPER = sorted((ROOT / "search_spaces" / "paper").rglob("*.yaml"))
BUILT: set[str] = set()
"""Shapes that were built before: tables share most of theirs."""
NAMES = ("table1", "table2", "table3", "table4", "table5", "figure3", "figure4")


def named(path: Path) -> str:
    return path.relative_to(ROOT / "search_spaces" / "paper").as_posix().removesuffix(".yaml")


def shape_of(config: ExperimentConfig) -> str:
    """What the modules of a model depend on: weights of losses and rates shape none."""
    alignment = (config.alignment.objective, config.alignment.bridge)
    parts = (config.task, config.text, config.image, config.fusion, config.head, alignment)
    return repr((parts, config.data.contexts is None))


def plan_of(name: str) -> StudyPlan:
    return plan_study(StudyConfig.load(ROOT / "search_spaces" / "paper" / f"{name}.yaml"), {})


def test_every_table_and_figure_is_here() -> None:
    names = {named(path) for path in PAPER}
    assert names >= {*NAMES, "table1_cpu", "table5_cpu"}
    assert names >= {f"demo/{name}" for name in NAMES}


@pytest.mark.parametrize("path", PAPER, ids=named)
def test_every_model_of_a_study_is_built(path: Path) -> None:
    plan = plan_study(StudyConfig.load(path), {})
    assert plan.study.name == named(path).replace("/", "_")
    assert plan.configs
    for config in plan.configs.values():
        assert config.data.dataset in READERS or config.data.dataset.startswith("synthetic")
        if (shape := shape_of(config)) not in BUILT:
            BUILT.add(shape)
            model = build_on_meta(config, LABELS[config.task])
            assert all(parameter.is_meta for parameter in model.parameters())


def test_table_1_is_the_papers() -> None:
    plan = plan_of("table1")
    published = {
        column: row.published[column]
        for row in [plan.study.rows["Shap-CA"]]
        for column in row.published
    }
    assert published == {
        "T-15": 76.93, "T-17": 88.32, "MJERE joint": 55.95, "MJERE entity": 79.29,
    }  # fmt: skip
    assert ("w/o Word-pair Contrastive", "T-17") not in plan.configs  # n/a
    assert ("w/o Word-pair Contrastive", "MNRE") in plan.configs
    rates = {
        key: config.optimisation.learning_rate
        for (row, key), config in plan.configs.items()
        if row == "Shap-CA"
    }
    assert rates == {"T-15": 3e-4, "T-17": 1e-4, "MNRE": 1e-4, "MJERE": 1e-4}
    # 7 rows on four data sets, and the word-pair ablation on the two that have word pairs
    assert plan.sweep is not None
    assert len(plan.sweep.configurations) == 7 * 4 + 2


def test_table_4_counts_the_papers_size() -> None:
    plan = plan_of("table4")
    column = plan.study.columns["Param."]
    assert column.score == PARAMETERS
    config = plan.configs["Shap-CA", column.data]
    millions = model_size(build_on_meta(config, LABELS["mner"])).parameters / 1e6
    assert round(millions, 1) == plan.study.rows["Shap-CA"].published["Param."]


def keys(plan: StudyPlan, row: str, data: str) -> str:
    return Cell(plan.configs[row, data], 1).key


def test_tables_share_their_cells() -> None:
    table1 = plan_of("table1")
    for name, row, data in (
        ("table2", "Shap-CA", "MJERE"),
        ("table3", "LLaVA-1.5", "MJERE"),
        ("table4", "Shap-CA", "T-17"),
        ("table5", "Shap-CA", "T-15"),
        ("figure3", "α = 0.2", "MJERE"),
        ("figure4", "Shap-CA", "MJERE"),
    ):
        key = data if data in ("T-15", "T-17") else "MJERE"
        if name == "figure3":
            # β is 0.4 there, the paper's: the point is Table 1's very model.
            assert plan_of(name).configs[row, data].alignment.beta == 0.4
        assert keys(plan_of(name), row, data) == keys(table1, "Shap-CA", key)
    assert plan_of("table1").sweep is not None
    kept = table1.sweep.configurations if table1.sweep else {}
    assert kept["Shap-CA · T-17"].keep_models
    assert not kept["w/o Shapley Value · T-17"].keep_models


@pytest.mark.parametrize("folder", [".", "demo"])
def test_weights_that_a_study_needs_are_kept_by_all_that_may_train_them(folder: str) -> None:
    paths = sorted((ROOT / "search_spaces" / "paper" / folder).glob("*.yaml"))
    kept: dict[str, dict[str, bool]] = {}
    for path in paths:
        plan = plan_study(StudyConfig.load(path), {})
        if plan.sweep is not None and plan.sweep.keep_models != "all":
            for (row, data), name in plan.names.items():
                keep = plan.sweep.configurations[name].keep_models
                content = plan.configs[row, data].model_dump_json()
                kept.setdefault(content, {})[plan.study.name] = keep
    shared = [studies for studies in kept.values() if len(studies) > 1]
    assert len([studies for studies in shared if any(studies.values())]) >= 2
    assert [studies for studies in shared if len(set(studies.values())) > 1] == []


@pytest.mark.parametrize(
    ("row", "config"),
    [
        ("Shap-CA without images", "twitter2017_minilm"),
        ("MiniLM-CRF, text only", "twitter2017_minilm_text"),
    ],
)
def test_the_cells_on_real_text_are_those_of_the_training_files(row: str, config: str) -> None:
    trained = Cell(ExperimentConfig.load(ROOT / "configs" / f"{config}.yaml"), 1).key
    assert keys(plan_of("table1_cpu"), row, "T-17") == trained
    assert keys(plan_of("table5_cpu"), row, "T-17") == trained

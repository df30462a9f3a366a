"""Every YAML that ships is loaded and its corners are built, without weights or memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.config.dimensions import FloatDimension
from orchestrator.config.sweep import SweepConfig
from orchestrator.sweeps.record.declaration import recall, remember
from shapca.build import build_on_meta
from shapca.config import ExperimentConfig, Task, load_training_file
from shapca.data.preparation.readers import READERS
from shapca.data.schema import Labels
from shapca.storage import FolderStore
from tests.paths import ROOT

SPACES = sorted((ROOT / "search_spaces").glob("*.yaml"))
PAPER = [path for path in SPACES if path.stem in ("twitter2015", "twitter2017", "mnre", "mjere")]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))

ENTITIES = ("LOC", "MISC", "ORG", "PER")
LABELS: dict[Task, Labels] = {
    "mner": Labels("mner", ENTITIES),
    "mre": Labels("mre", (), tuple(f"relation{n:02}" for n in range(22))),
    "mjere": Labels("mjere", ENTITIES, tuple(f"relation{n:02}" for n in range(21))),
}


def named(path: Path) -> str:
    return path.stem


def test_what_ships_is_here() -> None:
    assert {path.stem for path in SPACES} >= {
        "demo", "twitter2015", "twitter2017", "twitter2017_cpu", "mnre", "mnre_cpu", "mjere",
        "mjere_cpu",
    }  # fmt: skip


@pytest.mark.parametrize("path", SPACES, ids=named)
def test_every_corner_of_a_space_is_built(path: Path) -> None:
    sweep = SweepConfig.load(path)
    assert sweep.name == path.stem
    built: set[str] = set()
    for values in sweep.corners():
        config = sweep.resolve(values)
        # Learning rates shape no module.
        shape = config.model_copy(update={"optimisation": None})
        if repr(shape) not in built:
            built.add(repr(shape))
            model = build_on_meta(config, LABELS[config.task])
            assert all(parameter.is_meta for parameter in model.parameters())
    assert built


@pytest.mark.parametrize("path", SPACES, ids=named)
def test_a_space_ends_with_three_fresh_seeds_of_a_known_data_set(path: Path) -> None:
    sweep = SweepConfig.load(path)
    assert sweep.protocol.kind == "confirm"
    assert len(sweep.protocol.confirm_seeds) == 3
    for values in sweep.corners():
        config = sweep.resolve(values)
        assert config.data.dataset in {*READERS, "synthetic"}
        assert config.data.contexts is not None
        if config.alignment.negatives == "sum":
            assert config.alignment.temperature <= 0.35  # beyond, collapse is even the optimum


@pytest.mark.parametrize("path", PAPER, ids=named)
def test_the_papers_setting(path: Path) -> None:
    sweep = SweepConfig.load(path)
    config = sweep.resolve(next(sweep.corners()))
    assert config.text.encoder == "bert-base-uncased"
    assert (config.image.encoder, config.image.weights) == ("resnet152", "pretrained")
    assert config.optimisation.batch_size == 28
    assert sweep.resources.gpu == 1
    ranges = {
        key: (dimension.low, dimension.high, dimension.log)
        for key, dimension in sweep.space.items()
        if isinstance(dimension, FloatDimension)
    }
    assert ranges == {
        "optimisation.learning_rate": (1e-5, 5e-4, True),
        "alignment.alpha": (0.05, 1.0, False),
        "alignment.beta": (0.05, 1.0, False),
        "alignment.temperature": (0.3, 10.0, True),
    }


@pytest.mark.parametrize("path", [p for p in SPACES if p.stem.endswith("_cpu")], ids=named)
def test_the_cpu_forms_need_no_image_and_no_hub(path: Path) -> None:
    sweep = SweepConfig.load(path)
    config = sweep.resolve(next(sweep.corners()))
    assert (config.text.encoder, config.image.encoder) == ("minilm", "none")
    assert sweep.resources.gpu == 0
    assert "alignment.beta" not in sweep.space  # it would weigh nothing


@pytest.mark.parametrize("path", CONFIGS, ids=named)
def test_every_training_file_is_built(path: Path) -> None:
    config, _ = load_training_file(path)
    assert isinstance(config, ExperimentConfig)
    build_on_meta(config, LABELS[config.task])


@pytest.mark.parametrize("path", SPACES, ids=named)
def test_a_sweeps_file_is_remembered_whole(path: Path, tmp_path: Path) -> None:
    sweep, store = SweepConfig.load(path), FolderStore(tmp_path)
    remember(store, sweep)
    assert recall(store, sweep.name) == sweep

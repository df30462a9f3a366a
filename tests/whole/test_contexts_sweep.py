"""Which context set a run reads is config, and its content is part of the cell's key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.config.sweep import SweepConfig
from orchestrator.store.cell_factory import CellFactory
from shapca.contexts.generators.opening import identify
from shapca.contexts.pictures import pictures_of_data
from shapca.contexts.record_file import RecordFile
from shapca.contexts.run import keep_captions
from shapca.contexts.settings import GenerationSettings
from shapca.data.preparation.picture_sources import image_ids
from shapca.data.preparation.prepare import add_context_sets
from shapca.data.prepared import PreparedData
from tests.factories import tiny_config, tiny_data


@pytest.fixture
def data(tmp_path: Path) -> PreparedData:
    return tiny_data(tmp_path)


def generate(data: PreparedData, name: str, said: str) -> None:
    """Add a context set from records, as the generators write them."""
    captions = data.folder.parent / f"{name}.txt"
    images = image_ids(data.splits)
    captions.write_text("".join(f"{image}.jpg :{said} {image}\n" for image in images))
    settings = GenerationSettings(f"captions:{captions}")
    identity = identify(settings)
    out = data.folder.parent / f"{name}.jsonl"
    with RecordFile(out, identity) as file:
        keep_captions(pictures_of_data(data.folder, None), captions, file, identity)
    assert {"image", "text", "status", "generator"} <= set(json.loads(out.open().readline()))
    add_context_sets(data.folder, {name: [out]})


def test_a_sweep_over_context_sets_gives_a_cell_for_each(data: PreparedData) -> None:
    generate(data, "vinvl", "a thing like")
    generate(data, "llava", "a scene with")
    generate(data, "llava-copy", "a scene with")
    names = ["captions", "vinvl", "llava", "llava-copy"]
    sweep = SweepConfig.model_validate(
        {
            "name": "table3",
            "experiment": tiny_config().model_dump(mode="json", exclude_defaults=True),
            "space": {"data.contexts": {"type": "choice", "values": names}},
            "protocol": {"sampler": "grid", "trials": len(names)},
        }
    )
    points = sweep.grid()
    assert [point["data.contexts"] for point in points] == names
    factory = CellFactory(data.folder.parent)
    cells = [factory.cell(sweep.resolve(point), 0) for point in points]
    keys = [cell.key for cell in cells]
    assert len(set(keys[:3])) == 3
    assert keys[2] == keys[3]  # the same texts under another name are the same run
    parts = [cell.parts for cell in cells]
    assert len({part["text"] for part in parts}) == 1
    assert len({part["contexts"] for part in parts}) == 3

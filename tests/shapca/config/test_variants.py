"""The paper's rows: each trains, and differs from the full model in the one thing it names."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel

from shapca.build import build_model
from shapca.config import ExperimentConfig, Task
from shapca.config.variants import (
    FULL_MODEL,
    VARIANTS,
    applies_to,
    apply_variant,
    overrides_for,
)
from shapca.data.batches.batch import Batch
from shapca.data.prepared import PreparedData
from shapca.errors import InputError
from shapca.model.inputs import encode_split
from shapca.model.network import ModelOutput, ShapCA
from tests.factories import IMAGE_SIZE, tiny_config

TASKS = get_args(Task)
ROWS = [(name, task) for name in VARIANTS for task in TASKS if applies_to(name, task)]
Make = Callable[[str, Task], tuple[ShapCA, Batch]]


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    config = CLIPVisionConfig(
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=IMAGE_SIZE,
        patch_size=8,
    )
    CLIPVisionModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def make(tiny_datasets: dict[Task, PreparedData], clip_folder: Path) -> Make:
    """The model of a row and a training batch as that model reads it."""

    def make_row(name: str, task: Task) -> tuple[ShapCA, Batch]:
        full = tiny_config(task).model_dump(exclude_unset=True)
        tree = apply_variant(full, name)
        if name == "clip-vit-b-32":  # a small one
            tree["image"]["weights"] = str(clip_folder)
        config = ExperimentConfig.model_validate(tree)
        data = tiny_datasets[task]
        torch.manual_seed(0)
        model = build_model(config, data.labels)
        return model, encode_split(config, data, "train").collate(range(8))

    return make_row


def run(model: ShapCA, batch: Batch) -> ModelOutput:
    torch.manual_seed(0)
    return model(batch, torch.Generator().manual_seed(0))


def names(model: ShapCA) -> set[str]:
    return {name for name, _ in model.named_parameters()}


def starting_with(model: ShapCA, *prefixes: str) -> set[str]:
    return {name for name in names(model) if name.startswith(prefixes)}


@pytest.mark.parametrize(("name", "task"), ROWS)
def test_every_row_trains_and_predicts(make: Make, name: str, task: Task) -> None:
    model, batch = make(name, task)
    output = run(model, batch)
    output.loss.backward()
    assert torch.isfinite(output.loss)
    for parameter_name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, parameter_name
            assert torch.isfinite(parameter.grad).all(), parameter_name
    assert len(model.eval().predict(batch)) == 8


def test_every_row_has_its_tasks() -> None:
    absent = {(name, task) for name in VARIANTS for task in TASKS} - set(ROWS)
    assert absent == {("without-word-pair-contrastive", "mner")}


def test_a_row_changes_its_overrides_and_nothing_else() -> None:
    for name, task in ROWS:
        full = {"task": task, "data": {"dataset": "any"}}
        tree = apply_variant(full, name)
        assert full == {"task": task, "data": {"dataset": "any"}}
        before = flat(ExperimentConfig.model_validate(full).model_dump())
        after = flat(ExperimentConfig.model_validate(tree).model_dump())
        changed = {key: after[key] for key in after if after[key] != before[key]}
        assert changed == overrides_for(name, task)


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[prefix + key] = value
    return result


def test_unknown_rows_and_rows_of_other_tasks_are_refused() -> None:
    with pytest.raises(InputError, match="variant 'without-text': expected one of shap-ca"):
        apply_variant({}, "without-text")
    with pytest.raises(InputError, match="changes nothing for mner: n/a"):
        apply_variant({"task": "mner"}, "without-word-pair-contrastive")


@pytest.mark.parametrize("task", TASKS)
def test_without_context_in_alignment(make: Make, task: Task) -> None:
    full, batch = make(FULL_MODEL, task)
    row, _ = make("without-context-in-alignment", task)
    assert names(row) == names(full)
    output = run(row, batch)
    assert output.semantic == 0
    assert output.modality != 0
    assert not torch.equal(output.modality, run(full, batch).modality)
    torch.testing.assert_close(output.loss, output.main + row.beta * output.modality)
    # What the contexts say as a whole is aligned with nothing; encoder and fusion still read them.
    nothing = dataclasses.replace(batch, context_mask=batch.context_mask & False)
    assert torch.equal(run(row, nothing).modality, output.modality)
    assert not torch.equal(run(row, nothing).main, output.main)


@pytest.mark.parametrize("task", TASKS)
def test_without_context_in_fusion(make: Make, task: Task) -> None:
    full, batch = make(FULL_MODEL, task)
    row, _ = make("without-context-in-fusion", task)
    bridge = starting_with(full, "fusion.context.", "fusion.query_gate.", "fusion.key_gate.")
    assert bridge
    assert names(full) - names(row) == bridge
    assert names(row) < names(full)
    nothing = dataclasses.replace(batch, context_mask=batch.context_mask & False)
    assert torch.equal(run(row, nothing).main, run(row, batch).main)
    assert run(row, batch).semantic != 0


@pytest.mark.parametrize("task", TASKS)
def test_without_shapley_value(make: Make, task: Task) -> None:
    full, batch = make(FULL_MODEL, task)
    row, _ = make("without-shapley-value", task)
    assert names(row) == names(full)
    row.load_state_dict(full.state_dict())
    output, wanted = run(row, batch), run(full, batch)
    assert torch.equal(output.main, wanted.main)
    for name in ("semantic", "modality"):
        assert getattr(output, name) > 0  # a cross-entropy
        assert getattr(output, name) != getattr(wanted, name)
    # No permutation is drawn.
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    row(batch, generator)
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("task", ["mre", "mjere"])
def test_without_word_pair_contrastive(make: Make, task: Task) -> None:
    full, batch = make(FULL_MODEL, task)
    row, _ = make("without-word-pair-contrastive", task)
    assert names(full) - names(row) == starting_with(full, "head.text_classifier.")
    assert names(row) < names(full)
    state = full.state_dict()
    row.load_state_dict({name: state[name] for name in row.state_dict()})
    output, wanted = run(row, batch), run(full, batch)
    assert torch.equal(output.semantic, wanted.semantic)
    assert output.main != wanted.main


@pytest.mark.parametrize("task", TASKS)
def test_without_image(make: Make, task: Task) -> None:
    full, _ = make(FULL_MODEL, task)
    row, batch = make("without-image", task)
    assert batch.images is None
    kept = {"fusion.value.weight", "fusion.value.bias", "fusion.norm.weight", "fusion.norm.bias"}
    gone = starting_with(full, "image.", "alignment.", "fusion.") - kept
    assert names(full) - names(row) == gone
    assert names(row) < names(full)
    output = run(row, batch)
    assert output.modality == 0
    assert output.semantic != 0


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", ["concat-baseline", "text-only"])
def test_plain_baselines_are_encoder_and_head(make: Make, name: str, task: Task) -> None:
    full, _ = make(FULL_MODEL, task)
    row, batch = make(name, task)
    assert {part for part, _ in row.named_children()} == {"text", "head"}
    assert starting_with(row, "text.") == starting_with(full, "text.")
    output = run(row, batch)
    assert torch.equal(output.loss, output.main)
    assert output.semantic == output.modality == 0
    assert bool(batch.context_mask.any()) is (name == "concat-baseline")
    assert bool(batch.token_type_ids.any()) is (name == "concat-baseline")
    channels = row._channels(batch, *row._encode(batch))
    assert channels.present == (channels.text,)
    assert channels.text.shape[-1] == row.text.width


@pytest.mark.parametrize("task", TASKS)
def test_clip_replaces_the_image_encoder(make: Make, task: Task) -> None:
    full, _ = make(FULL_MODEL, task)
    row, batch = make("clip-vit-b-32", task)
    differing = names(full) ^ names(row)
    assert differing == starting_with(full, "image.") | starting_with(row, "image.")
    assert all(name.startswith("image.backbone.") for name in differing)
    assert run(row, batch).modality != 0

"""From configuration to modules: sizes, values that arrive, parts that do not fit."""

from __future__ import annotations

import functools
from typing import Any, get_args

import huggingface_hub
import pytest
import torch

from shapca.build import build_model, build_on_meta
from shapca.config import ExperimentConfig, Task, with_value
from shapca.config.variants import VARIANTS, applies_to, apply_variant
from shapca.errors import InputError
from shapca.model.parameters import default_labels
from tests.factories import tiny_config

TASKS = get_args(Task)
PAPER: dict[str, Any] = {"data": {"dataset": "twitter2015"}}
ROWS = [(name, task) for name in VARIANTS for task in TASKS if applies_to(name, task)]
LABELS = {task: default_labels(task) for task in TASKS}


def num_parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)


@pytest.mark.usefixtures("no_hub")
def test_the_papers_model_has_the_papers_size() -> None:
    model = build_on_meta(ExperimentConfig.model_validate(PAPER), LABELS["mner"])
    assert num_parameters(model.text) == 109_482_240
    assert model.image is not None
    assert num_parameters(model.image) == 58_143_808
    assert num_parameters(model) == 170_701_192
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize(("name", "task"), ROWS)
@pytest.mark.parametrize("encoder", ["bert-base-uncased", "minilm", "tiny"])
def test_every_row_builds_without_weights(name: str, task: Task, encoder: str) -> None:
    tree = with_value(PAPER | {"task": task}, "text.encoder", encoder)
    config = ExperimentConfig.model_validate(apply_variant(tree, name))
    assert num_parameters(build_on_meta(config, LABELS[task])) > 0


ARRIVALS: list[tuple[Task, str, Any, str, Any]] = [
    ("mner", "text.encode", "separate", "text.encode", "separate"),
    ("mner", "text.pool", "cls", "text.pool", "cls"),
    ("mner", "text.freeze", True, "text.freeze", True),
    ("mner", "text.gradient_checkpointing", True, "text.bert.is_gradient_checkpointing", True),
    ("mner", "image.freeze", True, "image.freeze", True),
    ("mner", "image.gradient_checkpointing", True, "image.backbone.gradient_checkpointing", True),
    ("mner", "image.encoder", "resnet50", "image.width", 2048),
    ("mner", "alignment.alpha", 0.7, "alpha", 0.7),
    ("mner", "alignment.beta", 0.8, "beta", 0.8),
    ("mner", "alignment.objective", "none", "alignment", None),
    ("mner", "alignment.temperature", 0.2, "alignment.temperature", 0.2),
    ("mner", "alignment.negatives", "mean", "alignment.negatives", "mean"),
    ("mner", "alignment.value_temperature", 0.3, "alignment.value_temperature", 0.3),
    ("mner", "alignment.features", "separate", "separate_features", True),
    ("mner", "alignment.bridge", "direct", "alignment.bridge", "direct"),
    ("mner", "alignment.mask_duplicates", True, "alignment.mask_duplicates", True),
    ("mner", "fusion.reading", "coupled", "fusion.reading", "coupled"),
    ("mner", "fusion.gate", "sigmoid", "fusion.query_gate.activation", "sigmoid"),
    ("mner", "fusion.normalise_bridge", True, "fusion.normalise_bridge", True),
    ("mner", "fusion.width", 48, "fusion.width", 48),
    ("mner", "head.hidden", 20, "head.emissions.in_features", 20),
    ("mner", "head.channel_width", 6, "channels.pos.embedding_dim", 6),
    ("mre", "head.dropout", 0.3, "head.dropout.p", 0.3),
    ("mre", "head.contrast.base", "log_probability", "head.contrast", "log_probability"),
    ("mre", "head.contrast.scale", 0.5, "head.contrast_scale", 0.5),
    ("mre", "head.contrast.detach_text", True, "head.detach_text", True),
    ("mre", "head.contrast.auxiliary_loss", 0.4, "head.auxiliary_loss", 0.4),
    ("mre", "head.contrast.enabled", False, "head.contrast", None),
    ("mjere", "head.reduction", "sum", "head.reduction", "sum"),
    ("mjere", "head.none_weight", 0.1, "head.class_weights.0", 0.1),
]


@pytest.mark.parametrize(("task", "key", "value", "place", "expected"), ARRIVALS)
def test_a_config_value_arrives_in_its_module(
    task: Task, key: str, value: Any, place: str, expected: Any
) -> None:
    def follow(found: Any, name: str) -> Any:
        return found[int(name)] if name.isdigit() else getattr(found, name)

    found = [
        functools.reduce(follow, place.split("."), build_model(config, LABELS[task]))
        for config in (tiny_config(task), tiny_config(task, **{key: value}))
    ]
    assert found[1] == (pytest.approx(expected) if isinstance(expected, float) else expected)
    assert found[0] != found[1]


def test_the_seed_of_torch_decides_what_is_random() -> None:
    config = tiny_config()

    def weights(seed: int, **options: bool) -> dict[str, torch.Tensor]:
        torch.manual_seed(seed)
        return build_model(config, LABELS["mner"], **options).state_dict()

    first, again, other = weights(1), weights(1), weights(2)
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert any(not torch.equal(value, other[name]) for name, value in first.items())
    assert weights(1, pretrained=False).keys() == first.keys()


def test_a_model_is_built_in_training_mode_on_its_device() -> None:
    model = build_model(tiny_config(), LABELS["mner"], device="cpu")
    assert model.training
    assert next(model.parameters()).device.type == "cpu"


REFUSED: list[tuple[Task, dict[str, Any], str]] = [
    (
        "mner",
        {"fusion.kind": "none", "alignment.objective": "none"},
        r"image\.encoder: resnet18 is read by neither",
    ),
    (
        "mre",
        {"image.encoder": "none", "head.channels": "text", "alignment.objective": "none"},
        r"head\.contrast: the text channel alone",
    ),
    ("mner", {"image.size": 32}, r"image\.size: resnet18"),
    ("mner", {"text.encoder": "nowhere/at-all"}, r"text\.encoder: .*hf download"),
]


@pytest.mark.parametrize(("task", "overrides", "message"), REFUSED)
def test_parts_that_do_not_fit_are_refused(
    task: Task, overrides: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=message):
        build_model(tiny_config(task, **overrides), LABELS[task])


def test_labels_of_another_task_are_refused() -> None:
    with pytest.raises(InputError, match="task: mner, but the data set serves mre"):
        build_model(tiny_config(), LABELS["mre"])


def test_a_text_encoder_with_few_positions_is_refused(tmp_path: Any) -> None:
    from transformers import BertConfig, BertModel

    small = BertConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=32
    )
    BertModel(small).save_pretrained(tmp_path)
    config = tiny_config(**{"text.encoder": str(tmp_path)})
    with pytest.raises(InputError, match=r"text\.max_length: .* at most 32 sub-words, got 64"):
        build_model(config, LABELS["mner"])

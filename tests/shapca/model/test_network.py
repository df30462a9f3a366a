"""The whole model on real batches: losses, gradients, predictions, parameter groups."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from shapca.build import build_model
from shapca.config import Task
from shapca.data.batches.batch import Batch
from shapca.data.batches.dataset import EncodedSplit
from shapca.data.prepared import PreparedData
from shapca.model.inputs import encode_split
from shapca.model.network import ModelOutput, ShapCA
from tests.factories import tiny_config

TASKS = get_args(Task)
Datasets = dict[Task, PreparedData]


@pytest.fixture(params=TASKS)
def task(request: pytest.FixtureRequest) -> Task:
    return request.param


def build(datasets: Datasets, task: Task, seed: int = 0, **overrides: Any) -> ShapCA:
    torch.manual_seed(seed)
    return build_model(tiny_config(task, **overrides), datasets[task].labels)


def split_of(datasets: Datasets, task: Task, split: str = "train") -> EncodedSplit:
    return encode_split(tiny_config(task), datasets[task], split)


def run(model: ShapCA, batch: Batch, seed: int = 0) -> ModelOutput:
    torch.manual_seed(seed)
    return model(batch, torch.Generator().manual_seed(seed))


def plain(decoded: list[Any]) -> list[Any]:
    return [value.tolist() if hasattr(value, "tolist") else value for value in decoded]


def test_separate_features_are_aligned_and_joint_ones_fused(tiny_datasets: Datasets) -> None:
    batch = split_of(tiny_datasets, "mner").collate(range(8))
    shared, apart = (
        build(tiny_datasets, "mner", **{"alignment.features": features})
        for features in ("shared", "separate")
    )
    assert (shared.reads_together, apart.reads_together) == (True, False)
    outputs = [run(model, batch) for model in (shared, apart)]
    assert outputs[0].main == outputs[1].main
    assert outputs[0].semantic != outputs[1].semantic
    assert outputs[1].loss.isfinite()

    separate = build(tiny_datasets, "mner", **{"text.encode": "separate"})
    config = tiny_config("mner", **{"text.encode": "separate"})
    twin = encode_split(config, tiny_datasets["mner"], "train").collate(range(8))
    found, expected = (
        model.eval().compare(given).matrices[::2]  # context with text, in both directions
        for model, given in ((apart, batch), (separate, twin))
    )
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    joint = shared.eval().compare(batch).matrices[::2]
    assert (joint - found).abs().max() > 1e-3
    assert plain(apart.predict(batch)) == plain(shared.predict(batch))


def test_the_loss_is_the_weighted_sum_of_its_terms(tiny_datasets: Datasets, task: Task) -> None:
    weights = {"alignment.alpha": 0.3, "alignment.beta": 0.7}
    model = build(tiny_datasets, task, **weights)
    output = run(model, split_of(tiny_datasets, task).collate(range(8)))
    assert all(getattr(output, f.name).shape == () for f in dataclasses.fields(output))
    wanted = output.main + 0.3 * output.semantic + 0.7 * output.modality
    torch.testing.assert_close(output.loss, wanted)
    assert output.semantic != 0
    assert output.modality != 0
    assert -1 <= output.negative_similarity <= 1
    assert -1 <= output.positive_similarity <= 1


def test_gradient_reaches_every_trainable_parameter(tiny_datasets: Datasets, task: Task) -> None:
    model = build(tiny_datasets, task)
    for module in model.modules():  # zero residual branches hide what stands before them
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    run(model, split_of(tiny_datasets, task).collate(range(8))).loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any() or "key.bias" in name, name


def test_a_few_steps_lower_the_loss(tiny_datasets: Datasets, task: Task) -> None:
    model = build(tiny_datasets, task, **{"head.dropout": 0.0})
    batch = split_of(tiny_datasets, task).collate(range(8))
    optimizer = torch.optim.AdamW(model.parameter_groups(0.01, 3e-3, 1e-3))
    losses = []
    for _ in range(8):
        output = run(model, batch)
        losses.append(output.loss.item())
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0] - 0.1


def test_batch_mates_and_padding_do_not_change_predictions(
    tiny_datasets: Datasets, task: Task
) -> None:
    model = build(tiny_datasets, task).eval()
    split = split_of(tiny_datasets, task, "valid")
    rows = range(len(split))
    together = plain(model.predict(split.collate(rows)))
    for row in rows:
        (alone,) = plain(model.predict(split.collate([row])))
        wanted = together[row]
        if task == "mjere":
            num_words = len(split.examples[row].words)
            assert not torch.tensor(wanted)[num_words:].any()
            wanted = [cells[:num_words] for cells in wanted[:num_words]]
        assert alone == wanted
    assert len({str(value) for value in together}) > 1


def test_saved_weights_give_the_same_predictions(tiny_datasets: Datasets, task: Task) -> None:
    batch = split_of(tiny_datasets, task, "valid").collate(range(12))
    model = build(tiny_datasets, task)
    run(model, split_of(tiny_datasets, task).collate(range(8)))  # moves batch statistics
    other = build(tiny_datasets, task, seed=9)
    other.load_state_dict(load(save(model.state_dict())))
    first, second = model.eval(), other.eval()
    features, same = first.text(batch), second.text(batch)
    assert torch.equal(features.words, same.words)
    assert plain(first.predict(batch)) == plain(second.predict(batch))


@pytest.mark.parametrize("rows", [[3], [0, 1, 2, 3, 4]], ids=["one post", "no image"])
def test_small_and_imageless_batches_train(
    tiny_datasets: Datasets, task: Task, rows: list[int]
) -> None:
    batch = split_of(tiny_datasets, task).collate(rows)
    batch = dataclasses.replace(batch, image_mask=torch.zeros(len(rows), dtype=torch.bool))
    model = build(tiny_datasets, task)
    output = run(model, batch)
    output.loss.backward()
    assert torch.isfinite(output.loss)
    assert output.modality == 0
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert len(model.eval().predict(batch)) == len(rows)


def test_a_missing_picture_is_never_read(tiny_datasets: Datasets, task: Task) -> None:
    batch = split_of(tiny_datasets, task).collate(range(8))
    assert batch.images is not None
    mask = torch.arange(8) % 2 == 0
    noise = torch.randint_like(batch.images, 256)
    first = dataclasses.replace(batch, image_mask=mask)
    second = dataclasses.replace(
        first, images=torch.where(mask[:, None, None, None], batch.images, noise)
    )
    model = build(tiny_datasets, task)
    assert torch.equal(run(model, first).loss, run(model, second).loss)


def test_the_generator_decides_permutations_and_nothing_else(tiny_datasets: Datasets) -> None:
    model = build(tiny_datasets, "mner", **{"alignment.estimator": "cyclic"}).eval()
    batch = split_of(tiny_datasets, "mner").collate(range(8))
    first, again, other = (run(model, batch, seed) for seed in (1, 1, 2))
    assert torch.equal(first.loss, again.loss)
    assert torch.equal(first.main, other.main)
    assert not torch.equal(first.semantic, other.semantic)


def test_half_precision_of_the_rest_leaves_the_alignment_in_float32(
    tiny_datasets: Datasets, task: Task
) -> None:
    model = build(tiny_datasets, task)
    batch = split_of(tiny_datasets, task).collate(range(8))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = run(model, batch)
    output.loss.backward()
    assert output.semantic.dtype == output.modality.dtype == torch.float32
    assert torch.isfinite(output.loss)
    wanted = run(build(tiny_datasets, task), batch)
    torch.testing.assert_close(output.main.float(), wanted.main, atol=0.2, rtol=0.1)


def test_parameter_groups_hold_every_trained_parameter_once(
    tiny_datasets: Datasets, task: Task
) -> None:
    model = build(tiny_datasets, task, **{"image.freeze": True})
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = model.parameter_groups(0.05, 1e-3, 1e-5)
    listed = [names[id(parameter)] for group in groups for parameter in group["params"]]
    assert len(listed) == len(set(listed))
    assert set(listed) == {name for name, p in model.named_parameters() if p.requires_grad}
    assert not any(name.startswith("image.") for name in listed)
    for group in groups:
        for parameter in group["params"]:
            name = names[id(parameter)]
            assert group["lr"] == (1e-5 if name.startswith("text.") else 1e-3)
            spared = name.endswith("bias") or "norm" in name.lower() or parameter.ndim < 2
            assert group["weight_decay"] == (0.0 if spared else 0.05), name


def test_an_image_encoder_wants_images(tiny_datasets: Datasets) -> None:
    batch = dataclasses.replace(split_of(tiny_datasets, "mner").collate([0, 1]), images=None)
    with pytest.raises(ValueError, match="holds no images"):
        run(build(tiny_datasets, "mner"), batch)


def test_contexts_are_read(tiny_datasets: Datasets, task: Task) -> None:
    model = build(tiny_datasets, task).eval()
    batch = split_of(tiny_datasets, task).collate(range(8))

    def words(context_mask: Tensor) -> Tensor:
        changed = dataclasses.replace(batch, context_mask=context_mask)
        return model._channels(changed, *model._encode(changed)).text

    assert not torch.equal(words(batch.context_mask), words(batch.context_mask & False))

"""The training loop: records, selection, early stopping, divergence, retention, refusals."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounter

import shapca.evaluation.evaluate
import shapca.training.run
from shapca.alignment.health import AlignmentHealth
from shapca.build import build_model
from shapca.config import ExperimentConfig, RuntimeConfig, Task
from shapca.data.batches.dataset import EncodedSplit
from shapca.data.prepared import PreparedData
from shapca.errors import InputError
from shapca.evaluation.evaluate import predict_split
from shapca.model.inputs import encode_split
from shapca.model.network import ModelOutput, ShapCA
from shapca.runs.code import code_fingerprint
from shapca.runs.epochs import EpochRecord
from shapca.runs.tensors import unpack
from shapca.runs.trained import TrainedModel
from shapca.storage import FolderStore, read_json
from shapca.training import FitResult, StepProgress, Training, fit
from shapca.training.learning import _compile
from tests.factories import NUM_TRAIN, tiny_config
from tests.stores import MemoryStore

RUNTIME = RuntimeConfig(device="cpu", num_threads=1)
Datasets = dict[Task, PreparedData]


def small(task: Task = "mner", **overrides: Any) -> ExperimentConfig:
    """The smallest model: text alone."""
    return tiny_config(task, **{"image.encoder": "none", "optimisation.epochs": 3, **overrides})


def run(
    config: ExperimentConfig, data: PreparedData, store: MemoryStore | None = None, **options: Any
) -> tuple[FitResult, MemoryStore]:
    store = MemoryStore() if store is None else store
    return fit(config, data, seed=1, runtime=RUNTIME, store=store, **options), store


def with_scores(monkeypatch: pytest.MonkeyPatch, scores: list[float]) -> list[float]:
    """Let validations score as listed, in turn; what is left of the list is returned."""
    left = list(scores)
    original = shapca.training.run.score

    def score(*args: Any, **kwargs: Any) -> Any:
        evaluation = original(*args, **kwargs)
        return dataclasses.replace(evaluation, metrics={**evaluation.metrics, "f1": left.pop(0)})

    monkeypatch.setattr(shapca.training.run, "score", score)
    return left


def with_forward(
    monkeypatch: pytest.MonkeyPatch, spoil: Callable[[ShapCA, ModelOutput], ModelOutput], call: int
) -> None:
    """Change what the model returns in its n-th training batch, from 1."""
    original = ShapCA.forward
    calls = 0

    def forward(self: ShapCA, *args: Any) -> ModelOutput:
        nonlocal calls
        calls += 1
        output = original(self, *args)
        return spoil(self, output) if calls == call else output

    monkeypatch.setattr(ShapCA, "forward", forward)


@pytest.mark.parametrize("task", get_args(Task))
def test_a_run_of_each_task_leaves_its_records(tiny_datasets: Datasets, task: Task) -> None:
    seen: list[EpochRecord] = []
    result, store = run(
        tiny_config(task), tiny_datasets[task], on_epoch=lambda r: seen.append(r), test=True
    )
    assert result.status == "finished"
    assert result.reason == "all 2 epochs trained"
    assert [record.epoch for record in seen] == [1, 2]
    assert result.test is not None
    for record in seen:
        assert set(record.metrics) >= {
            "train/loss", "train/loss_main", "train/loss_semantic", "train/loss_modality",
            "train/positive_similarity", "train/negative_similarity", "train/gradient_norm",
            "train/samples_per_second", "train/input_seconds", "train/seconds", "val/seconds",
            "val/f1", "val/precision", "val/recall", "peak_memory_mb",
            "val/alignment_gap_context_text_joint", "val/alignment_gap_context_image",
            "val/alignment_r1_context_of_text_joint", "val/alignment_r5_text_of_context_joint",
            "val/alignment_r1_context_of_image", "val/alignment_r5_image_of_context",
            "val/alignment_uniformity_text", "val/alignment_uniformity_context",
            "val/alignment_uniformity_image",
        }  # fmt: skip
        assert all(math.isfinite(value) for value in record.metrics.values())
        waited, seconds = record.metrics["train/input_seconds"], record.metrics["train/seconds"]
        assert 0 < waited < seconds
        assert record.metrics["train/input_wait_share"] == waited / seconds
        assert record.metrics["train/samples_per_second"] * record.metrics[
            "train/seconds"
        ] == pytest.approx(NUM_TRAIN)
        assert record.metrics["peak_memory_mb"] > 50
    best = result.best_epoch
    assert store.list() == sorted([
        f"best/{best:04d}.safetensors", "epochs/0001.json",
        "epochs/0002.json", "evaluations/test.json", "evaluations/valid.json", "result.json",
        "run.json",
    ])  # fmt: skip
    stored = read_json(store, "epochs/0002.json")
    assert stored is not None
    assert EpochRecord.from_json(stored) == seen[1]
    assert result.best_metrics == seen[best - 1].metrics
    valid = read_json(store, "evaluations/valid.json")
    assert valid is not None
    assert valid["metrics"]["f1"] == result.best_metrics["val/f1"]
    assert all(len(counts) == 12 for counts in valid["per_example"].values())


def test_the_loss_is_the_weighted_sum_and_training_lowers_it(tiny_mner: PreparedData) -> None:
    weights = {"alignment.alpha": 0.3, "alignment.beta": 0.7, "optimisation.epochs": 6}
    training = Training(
        tiny_config(**weights), tiny_mner, seed=1, runtime=RUNTIME, store=MemoryStore()
    )
    records = [record.metrics for record in training.epochs()]
    for metrics in records:
        assert metrics["train/loss"] == pytest.approx(
            metrics["train/loss_main"]
            + 0.3 * metrics["train/loss_semantic"]
            + 0.7 * metrics["train/loss_modality"],
            rel=1e-5,
        )
    assert records[-1]["train/loss_main"] < 0.7 * records[0]["train/loss_main"]


def test_a_model_without_alignment_logs_no_alignment(tiny_mner: PreparedData) -> None:
    result, _ = run(small(**{"alignment.objective": "none", "optimisation.epochs": 1}), tiny_mner)
    assert {name for name in result.best_metrics if name.startswith("train/loss")} == {
        "train/loss",
        "train/loss_main",
    }
    assert not [name for name in result.best_metrics if "alignment" in name]
    assert result.alignment is None


@pytest.mark.parametrize(
    "alignment",
    [{"negatives": "softmax"}, {"negatives": "softmax", "estimator": "exact"},
     {"objective": "infonce"}],
)  # fmt: skip
def test_a_learnt_temperature_is_logged_kept_and_resumed(
    tiny_mner: PreparedData, alignment: dict[str, Any]
) -> None:
    learnt = {f"alignment.{key}": value for key, value in alignment.items()}
    config = small(**learnt, **{"alignment.learn_temperature": True})
    start = 0.1 if alignment.get("objective") else 0.02
    records: list[EpochRecord] = []
    result, store = run(config, tiny_mner, on_epoch=lambda record: records.append(record))
    logged = [record.metrics["train/alignment_temperature"] for record in records]
    assert len({start, *logged}) == 4
    assert result.best_epoch is not None
    model = TrainedModel.load(store, torch.device("cpu")).model
    assert model.alignment is not None
    learnt_temperature = model.alignment.learnt_temperature()
    assert learnt_temperature is not None
    assert learnt_temperature.item() == logged[result.best_epoch - 1]

    again = MemoryStore()
    for _ in range(3):
        resumed, _ = run(config, tiny_mner, again, on_epoch=lambda _: True)
    assert resumed.best_metrics["train/loss"] == result.best_metrics["train/loss"]
    best = f"best/{result.best_epoch:04d}.safetensors"
    assert again.get(best) == store.get(best)

    fixed, _ = run(small(**learnt, **{"optimisation.epochs": 1}), tiny_mner)
    assert "train/alignment_temperature" not in fixed.best_metrics


def test_the_run_record_says_what_ran(tiny_mner: PreparedData) -> None:
    config = small(**{"optimisation.epochs": 1})
    _, store = run(config, tiny_mner)
    record = read_json(store, "run.json")
    assert record is not None
    assert ExperimentConfig.model_validate(record["config"]) == config
    assert record["identity"]["seed"] == 1
    assert record["identity"]["data"] == tiny_mner.part_hashes(config)
    assert record["dataset"] == "tiny-mner"
    (environment,) = record["environments"]
    assert environment["code"] == code_fingerprint()
    assert (environment["device"], environment["num_threads"]) == ("cpu", 1)


def test_the_best_epoch_is_the_first_among_equals(
    tiny_mner: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_scores(monkeypatch, [10.0, 30.0, 30.0, 20.0, 30.0])
    seen: list[bool] = []
    config = small(**{"optimisation.epochs": 5})
    result, store = run(config, tiny_mner, on_epoch=lambda r: seen.append(r.is_best))
    assert seen == [True, True, False, False, False]
    assert result.best_epoch == 2
    assert store.list("best/") == ["best/0002.safetensors"]


def test_patience_ends_a_run(tiny_mner: PreparedData, monkeypatch: pytest.MonkeyPatch) -> None:
    left = with_scores(monkeypatch, [10.0, 30.0, 20.0, 30.0, 99.0])
    config = small(**{"optimisation.epochs": 5, "optimisation.patience": 2})
    result, _ = run(config, tiny_mner)
    assert (result.status, result.best_epoch, result.epochs_run) == ("finished", 2, 4)
    assert result.reason == "no better validation F1 for 2 epochs"
    assert left == [99.0]


def test_the_best_weights_are_those_of_the_best_epoch(
    tiny_mner: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_scores(monkeypatch, [10.0, 30.0, 20.0])
    store = MemoryStore()
    weights: list[dict[str, Tensor]] = []

    def keep(record: EpochRecord) -> None:
        found = unpack(store, f"checkpoint/{record.epoch:04d}.safetensors")
        weights.append({name.removeprefix("model/"): tensor for name, tensor in found.items()})

    run(small(), tiny_mner, store, on_epoch=keep)
    best = unpack(store, "best/0002.safetensors")
    assert all(torch.equal(best[name], weights[1][name]) for name in best)
    assert any(not torch.equal(best[name], weights[2][name]) for name in best)


def test_the_test_split_is_scored_once_and_only_where_asked(
    tiny_mner: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits: list[str] = []
    names = {tuple(e.id for e in posts): split for split, posts in tiny_mner.splits.items()}

    def predict(model: ShapCA, split: EncodedSplit, *args: Any, **kwargs: Any) -> Any:
        splits.append(names[tuple(example.id for example in split.examples)])
        return predict_split(model, split, *args, **kwargs)

    monkeypatch.setattr(shapca.training.run, "predict_split", predict)
    monkeypatch.setattr(shapca.evaluation.evaluate, "predict_split", predict)
    result, store = run(small(), tiny_mner)
    assert splits == ["valid"] * 3
    assert result.test is None
    assert store.get("evaluations/test.json") is None
    first, _ = run(small(), tiny_mner, store, test=True)
    second, _ = run(small(), tiny_mner, store, test=True)
    assert splits == ["valid"] * 3 + ["test"]
    assert first.test is not None
    assert second.test is not None
    assert first.test.to_json() == second.test.to_json()
    assert dataclasses.replace(first, test=None) == result
    # Scored at the run's end or later: the same.
    at_once, other = run(small(), tiny_mner, test=True)
    assert at_once.test is not None
    assert at_once.test.to_json() == first.test.to_json()
    assert other.get("evaluations/test.json") == store.get("evaluations/test.json")


def test_a_finished_run_trains_no_more(tiny_mner: PreparedData) -> None:
    result, store = run(small(), tiny_mner)
    before = dict(store.objects)
    training = Training(small(), tiny_mner, seed=1, runtime=RUNTIME, store=store)
    assert training.is_complete
    assert list(training.epochs()) == []
    assert training.finish(test=False) == result
    assert len(training.history) == 3
    assert store.objects == before


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("term", "value", "reason"),
    [
        ("main", NAN, "epoch 2, batch 2 of 3: train/loss_main is nan"),
        ("semantic", INF, "epoch 2, batch 2 of 3: train/loss_semantic is inf"),
        ("modality", -INF, "epoch 2, batch 2 of 3: train/loss_modality is -inf"),
    ],
)
def test_a_loss_that_is_not_finite_ends_the_run_as_diverged(
    tiny_mner: PreparedData,
    monkeypatch: pytest.MonkeyPatch,
    term: str,
    value: float,
    reason: str,
) -> None:
    def spoil(_: ShapCA, output: ModelOutput) -> ModelOutput:
        changed = getattr(output, term) * value
        return dataclasses.replace(output, **{term: changed, "loss": output.loss + changed})

    with_forward(monkeypatch, spoil, call=5)
    config = tiny_config(**{"optimisation.epochs": 3})
    result, store = run(config, tiny_mner, test=True)
    assert (result.status, result.best_epoch, result.epochs_run) == ("diverged", 1, 1)
    # The sign of the term's own value decides the sign of an infinite one.
    assert result.reason is not None
    assert result.reason.replace("-inf", "inf") == reason.replace("-inf", "inf")
    assert result.test is None
    assert store.get("evaluations/test.json") is None
    assert store.list("checkpoint/") == []
    best = unpack(store, "best/0001.safetensors")
    assert all(torch.isfinite(value).all() for value in best.values())
    # Diverged is final: asked again, nothing is trained.
    again, _ = run(config, tiny_mner, store, test=True)
    assert again == result


def test_a_gradient_that_is_not_finite_ends_the_run_as_diverged(
    tiny_mner: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(model: ShapCA, output: ModelOutput) -> ModelOutput:
        root_of_zero = (next(model.head.parameters()).sum() * 0).sqrt()
        return dataclasses.replace(output, loss=output.loss + root_of_zero)

    with_forward(monkeypatch, spoil, call=3)  # the last batch of the first epoch
    result, store = run(tiny_config(**{"optimisation.clip_norm": None}), tiny_mner)
    assert (result.status, result.best_epoch, result.epochs_run) == ("diverged", None, 0)
    assert result.reason == "epoch 1, step 3 of 3: the gradient's norm is nan"
    assert store.list("checkpoint/") == store.list("best/") == store.list("epochs/") == []
    assert read_json(store, "result.json") == {
        "status": "diverged",
        "reason": result.reason,
        "best_epoch": None,
        "best_metrics": {},
        "epochs_run": 0,
        "alignment": None,
    }


def test_running_out_of_memory_is_an_error_that_names_batch_size_and_peak(
    tiny_mner: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(_: ShapCA, output: ModelOutput) -> ModelOutput:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with_forward(monkeypatch, spoil, call=5)
    store = MemoryStore()
    with pytest.raises(torch.OutOfMemoryError) as caught:
        run(small(), tiny_mner, store)
    (note,) = caught.value.__notes__
    assert note.startswith("out of memory in epoch 2: batch size 8, peak ")
    assert store.get("result.json") is None
    assert store.list("checkpoint/") == ["checkpoint/0001.safetensors"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimisation.learning_rate": 0.5},
         r"optimisation\.learning_rate is 0\.002 there, 0\.5 asked for"),
        ({"text.max_length": 256}, r"text\.max_length is 64 there, the default asked for"),
        ({"data.contexts": None, "alignment.objective": "none"},
         r"data\.contexts is \w{12}… there"),
    ],
)  # fmt: skip
def test_another_run_is_refused_and_the_difference_named(
    tiny_mner: PreparedData, change: dict[str, Any], message: str
) -> None:
    _, store = run(small(**{"optimisation.epochs": 1}), tiny_mner)
    before = dict(store.objects)
    with pytest.raises(InputError, match=message):
        run(small(**{"optimisation.epochs": 1, **change}), tiny_mner, store)
    assert store.objects == before


def test_another_seed_or_other_data_are_refused(tiny_datasets: Datasets, tmp_path: Path) -> None:
    from tests.factories import tiny_data

    data = tiny_datasets["mner"]
    config = small(**{"optimisation.epochs": 1})
    _, store = run(config, data)
    with pytest.raises(InputError, match="seed is 1 there, 2 asked for"):
        Training(config, data, seed=2, runtime=RUNTIME, store=store)
    other = tiny_data(tmp_path, seed=9)
    with pytest.raises(InputError, match=r"data\.text is \w{12}… there, \w{12}… asked for"):
        run(config, other, store)


def test_data_of_another_task_are_refused(tiny_datasets: Datasets) -> None:
    with pytest.raises(InputError, match="mre"):
        run(small("mner"), tiny_datasets["mre"])


def test_going_on_in_another_environment_is_recorded(
    tiny_mner: PreparedData, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    run(small(), tiny_mner, store, on_epoch=lambda record: True)
    monkeypatch.setattr("shapca.runs.run_record.code_fingerprint", lambda: "another")
    run(small(), tiny_mner, store, on_epoch=lambda record: record.epoch == 2)
    assert "resumes at epoch 2" in caplog.text
    run(small(), tiny_mner, store)
    record = read_json(store, "run.json")
    assert record is not None
    found = [(item["from_epoch"], item["code"]) for item in record["environments"]]
    assert found == [(1, code_fingerprint()), (2, "another")]


def test_accumulated_batches_step_like_one_large_batch(tiny_mner: PreparedData) -> None:
    """Without dropout and alignment two half batches have the gradient of the whole."""
    common = {
        "alignment.objective": "none",
        "head.dropout": 0.0,
        "data.train_limit": 16,
        "optimisation.epochs": 1,
        "optimisation.clip_norm": None,
    }

    def gradient_norm(batch_size: int, accumulation: int, monkeypatch: pytest.MonkeyPatch) -> float:
        monkeypatch.setattr("torch.nn.functional.dropout", lambda x, *_, **__: x)
        result, _ = run(
            small(
                **common,
                **{
                    "optimisation.batch_size": batch_size,
                    "optimisation.accumulation": accumulation,
                },
            ),
            tiny_mner,
        )
        return result.best_metrics["train/gradient_norm"]

    with pytest.MonkeyPatch.context() as patch:
        whole = gradient_norm(16, 1, patch)
        halves = gradient_norm(8, 2, patch)
        separate = gradient_norm(8, 1, patch)
    assert halves == pytest.approx(whole, rel=1e-4)
    assert separate != pytest.approx(whole, rel=1e-3)


def test_a_last_group_of_batches_may_be_smaller(tiny_mner: PreparedData) -> None:
    steps: list[StepProgress] = []
    config = small(**{"optimisation.accumulation": 2, "optimisation.epochs": 1})
    result, _ = run(config, tiny_mner, on_step=steps.append)
    assert [(step.epoch, step.batch, step.num_batches) for step in steps] == [
        (1, 1, 3), (1, 2, 3), (1, 3, 3),
    ]  # fmt: skip
    assert result.status == "finished"


@pytest.mark.parametrize(
    "change",
    [
        {"optimisation.precision": "bf16"},
        {"text.gradient_checkpointing": True},
    ],
    ids=lambda change: next(iter(change)),
)
def test_ways_to_compute_train_to_about_the_same_loss(
    tiny_mner: PreparedData, change: dict[str, Any]
) -> None:
    losses = []
    for settings in ({}, change):
        result, _ = run(
            tiny_config(**{"optimisation.epochs": 1, "head.dropout": 0.0, **settings}), tiny_mner
        )
        losses.append(result.best_metrics["train/loss"])
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


@pytest.mark.parametrize("encoder", ["text", "image"])
def test_gradient_checkpointing_changes_no_bit(tiny_mner: PreparedData, encoder: str) -> None:
    weights = []
    for checkpointing in (False, True):
        change = {f"{encoder}.gradient_checkpointing": checkpointing, "optimisation.epochs": 1}
        result, store = run(
            small(**change) if encoder == "text" else tiny_config(**change), tiny_mner
        )
        assert result.best_epoch == 1
        weights.append(unpack(store, "best/0001.safetensors"))
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_compiled_model_trains_alike_and_keeps_plain_names(tiny_mner: PreparedData) -> None:
    names, losses = [], []
    for backend in ("none", "aot_eager"):
        config = small(**{"optimisation.epochs": 1, "optimisation.compile": backend})
        result, store = run(config, tiny_mner)
        names.append(set(unpack(store, "best/0001.safetensors")))
        losses.append(result.best_metrics["train/loss"])
    assert names[0] == names[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("task", get_args(Task))
def test_a_model_is_compiled_once_for_batches_of_any_lengths(
    tiny_datasets: Datasets, task: Task
) -> None:
    counter = CompileCounter()
    config, data = small(task), tiny_datasets[task]
    model = build_model(config, data.labels)
    split = encode_split(config, data, "train")
    shapes, compiled = set(), []
    _compile(model, counter)
    for rows in ([0, 1, 2, 3], [4, 5, 6], [7, 8, 9, 10, 11], [12, 13], [14, 15, 16], [20, 21, 22]):
        batch = split.collate(rows)
        model(batch, torch.Generator()).loss.backward()
        shapes.add(batch.word_mask.shape)
        compiled.append(counter.frame_count)
    assert len(shapes) > 3
    # Sizes that are equal by chance in the first batch are taken for one, until the second.
    assert set(compiled[1:]) == {compiled[-1]}
    assert compiled[-1] <= compiled[0] + 1


def test_the_train_limit_cuts_training_alone(tiny_mner: PreparedData) -> None:
    steps: list[StepProgress] = []
    config = small(**{"data.train_limit": 9, "optimisation.epochs": 1})
    _, store = run(config, tiny_mner, on_step=steps.append)
    assert steps[-1].num_batches == 2
    valid = read_json(store, "evaluations/valid.json")
    assert valid is not None
    assert all(len(counts) == 12 for counts in valid["per_example"].values())


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(tiny_mner: PreparedData, device: str) -> None:
    runtime = RuntimeConfig(device=device)
    with pytest.raises(InputError, match=rf"runtime\.device: '{device}'"):
        Training(small(), tiny_mner, seed=1, runtime=runtime, store=MemoryStore())


def test_a_run_folder_is_plain_files(tiny_mner: PreparedData, tmp_path: Path) -> None:
    fit(
        small(**{"optimisation.epochs": 1}),
        tiny_mner,
        seed=1,
        runtime=RUNTIME,
        store=FolderStore(tmp_path),
    )
    for path in tmp_path.rglob("*.json"):
        json.loads(path.read_text())
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {
        ".json",
        ".safetensors",
    }


@pytest.mark.parametrize(
    ("change", "warns"),
    [
        ({"alignment.temperature": 0.4, "alignment.negatives": "sum"}, True),
        ({"alignment.temperature": 0.35, "alignment.negatives": "sum"}, False),
        ({"alignment.temperature": 0.4}, False),
        ({"alignment.temperature": 0.4, "alignment.negatives": "mean"}, False),
        ({"alignment.temperature": 0.4, "alignment.objective": "infonce"}, False),
    ],
)
def test_a_temperature_that_invites_collapse_is_warned_of(
    tiny_mner: PreparedData,
    caplog: pytest.LogCaptureFixture,
    change: dict[str, Any],
    warns: bool,
) -> None:
    run(small(**{"optimisation.epochs": 1, **change}), tiny_mner)
    assert ("alignment.temperature 0.4" in caplog.text) == warns


@pytest.mark.parametrize(
    ("gaps", "changes", "expected"),
    [
        ([(0.01, 0.2), (0.049, 0.3)], {}, "collapsed"),
        ([(0.01, 0.2), (0.051, 0.01)], {}, "aligned"),
        ([(0.9, -0.2), (0.9, 0.0)], {}, "collapsed"),
        ([(0.9, -0.2), (0.9, 0.0)], {"alignment.beta": 0.0}, "trivial"),
        ([(0.0, 0.2), (0.0, 0.3)], {"alignment.alpha": 0.0}, "aligned"),
        ([(0.0, 0.0), (0.0, 0.0)], {"alignment.alpha": 0.0, "alignment.beta": 0.0}, None),
    ],
)
def test_a_collapse_is_warned_of_once_and_told_by_the_result(
    tiny_mner: PreparedData,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    gaps: list[tuple[float, float]],
    changes: dict[str, Any],
    expected: str | None,
) -> None:
    left = iter(gaps)

    def metrics(self: AlignmentHealth) -> dict[str, float]:
        names = ("alignment_gap_context_text_joint", "alignment_gap_context_image")
        return dict(zip(names, next(left), strict=True))

    monkeypatch.setattr(AlignmentHealth, "metrics", metrics)
    store = MemoryStore()
    for _ in range(3):  # an epoch each; the third finds the run finished
        result, _ = run(
            small(**{"optimisation.epochs": 2, **changes}),
            tiny_mner,
            store,
            on_epoch=lambda _: True,
        )
    assert result.alignment == expected
    stored = read_json(store, "result.json")
    assert stored is not None
    assert stored["alignment"] == expected
    assert caplog.text.count("the alignment collapsed") == (expected == "collapsed")
    if expected == "collapsed":
        assert ("(context with text)" if gaps[0][1] > 0 else "(context with image)") in caplog.text
        advised = "set alignment.negatives to mean or softmax" in caplog.text
        assert advised == (small(**changes).alignment.negatives == "sum")

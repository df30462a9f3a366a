"""The model card of a saved model: what the Hub's header needs, and what a reader should know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shapca.config import ExperimentConfig, Task
from shapca.data.manifest import Manifest
from shapca.data.prepared import PreparedData
from shapca.data.schema import SPLITS
from shapca.errors import InputError
from shapca.metrics.seed_scores import SeedScores
from shapca.runs.run_record import RunRecord
from shapca.runs.saved import Measured, SeedTable, SplitScores, portable, write_saved
from shapca.runs.trained import TrainedModel

LIBRARY = "shap-ca"
METRICS = ("precision", "recall", "f1")
TASKS: dict[Task, str] = {
    "mner": "Entities (MNER)",
    "mre": "Relations between given entities (MRE)",
    "mjere": "Entities and the relations between them (MJERE)",
}
PIPELINES: dict[Task, str] = {
    "mner": "token-classification",
    "mre": "text-classification",
    "mjere": "token-classification",
}
_TAGS: dict[Task, tuple[str, ...]] = {
    "mner": ("named-entity-recognition",),
    "mre": ("relation-extraction",),
    "mjere": ("named-entity-recognition", "relation-extraction"),
}
_COUNTED: dict[Task, str] = {"mner": "entities", "mre": "relations", "mjere": "relations"}
_SPLITS = {"valid": "validation", "test": "test"}
_LONGEST = 100


@dataclass(frozen=True)
class About:
    """What a card says of a model beside what the model knows of itself.

    Attributes:
        license: Its licence, as the Hub names it, e.g. `apache-2.0`.
        data: The prepared folder that it was trained on, whose counts shall stand there.
        seeds: Scores of its configuration over seeds.
    """

    license: str = "unknown"
    data: Path | None = None
    seeds: SeedTable | None = None


def save(trained: TrainedModel, folder: Path, about: About, repo: str | None = None) -> None:
    """Write a model into a folder to be handed over (`shapca.runs.saved`).

    Args:
        trained: The model.
        folder: New, empty, or that of a saved model, which is replaced.
        about: What the card shall say.
        repo: The repository that the folder is for.

    Raises:
        InputError: the folder holds something else, or the data is not that of the model.
    """
    record, measured = trained.record, trained.measured
    if about.seeds is not None:
        measured = replace(measured, seeds=about.seeds)
    if about.data is not None:
        measured = replace(measured, counts=_counts(record, about.data))
    name = (repo or folder.absolute().name).rpartition("/")[2]
    card = model_card(record, measured, name=name, source=repo or name, license=about.license)
    weights = trained.model.state_dict()
    write_saved(folder, record, weights, trained.encoder_files, measured, card)


def _counts(record: RunRecord, folder: Path) -> dict[str, dict[str, int]]:
    """Counts of the data of a run by split."""
    manifest = Manifest.load(folder)
    ours = PreparedData(folder, manifest).part_hashes(record.config)
    if ours != record.data:
        raise InputError(f"{folder}: is not the data that the model was trained on")
    return {split: dict(manifest.counts[split]) for split in SPLITS}


def model_card(
    record: RunRecord, measured: Measured, *, name: str, source: str, license: str
) -> str:
    """A README.md with a YAML header that the Hub reads.

    Args:
        record: What the run was.
        measured: What is known of the model.
        name: What to call the model.
        source: What `from_pretrained` is given to load it.
        license: Its licence, as the Hub names it.
    """
    from huggingface_hub import EvalResult, ModelCardData

    config = portable(record.config)
    header = ModelCardData(
        license=license,
        library_name=LIBRARY,
        pipeline_tag=PIPELINES[config.task],
        tags=[*_TAGS[config.task], "multimodal", "social-media", "contrastive-learning"],
        datasets=[record.dataset],
        metrics=list(METRICS),
        model_name=name,
        eval_results=[
            EvalResult(
                task_type=PIPELINES[config.task],
                task_name=TASKS[config.task],
                dataset_type=record.dataset,
                dataset_name=record.dataset,
                dataset_split=_SPLITS[scores.split],
                metric_type=metric,
                metric_name=metric,
                metric_value=round(scores.metrics[metric], 2),
            )
            for scores in measured.splits
            for metric in METRICS
            if metric in scores.metrics
        ] or None,
    )  # fmt: skip
    parts = (
        [f"# {_plain(name)}", f"{TASKS[config.task]} in social-media posts, found by Shap-CA "
         f"from {_inputs(config)}."],
        _use(config, source),
        _data(record, measured),
        _labels(record),
        _scores(config, measured),
        _training(config, record),
        _limits(config, record),
    )  # fmt: skip
    body = "\n\n".join(line for part in parts for line in part)
    return f"---\n{header.to_yaml()}\n---\n\n{body}\n"


def _inputs(config: ExperimentConfig) -> str:
    read = ["their text"]
    read += ["their picture"] if config.image.encoder != "none" else []
    read += ["a caption of that picture"] if config.data.contexts is not None else []
    return read[0] if len(read) == 1 else ", ".join(read[:-1]) + " and " + read[-1]


def _use(config: ExperimentConfig, source: str) -> Iterator[str]:
    given = ['"Kevin Durant enters Oracle Arena"']
    if config.data.contexts is not None:
        given.append('context="a basketball player"')
    if config.image.encoder != "none":
        given.append('image="picture.jpg"')
    if config.task == "mre":
        given.append("entities=[(0, 12), (20, 32)]")
    yield "## Use"
    yield (
        f"```python\nimport shapca\n\nextractor = shapca.Extractor.from_pretrained({source!r})\n"
        f"found = extractor.extract({', '.join(given)})\n```"
    )


def _data(record: RunRecord, measured: Measured) -> Iterator[str]:
    yield "## Data"
    yield f"Trained on the data set `{record.dataset}`. SHA-256 of the parts that were read:"
    yield _table(("part", "SHA-256"), [(part, f"`{h}`") for part, h in record.data.items()])
    if measured.counts:
        names = sorted({name for counts in measured.counts.values() for name in counts})
        rows = [
            (split, *(f"{counts.get(name, 0):,}" for name in names))
            for split, counts in measured.counts.items()
        ]
        yield _table(("split", *(name.replace("_", " ") for name in names)), rows)


def _labels(record: RunRecord) -> Iterator[str]:
    yield "## Labels"
    labels = record.labels
    for kind, types in (("Entities", labels.entity_types), ("Relations", labels.relation_types)):
        if types:
            yield f"{kind}: " + ", ".join(f"`{_plain(name)}`" for name in types) + "."


def _scores(config: ExperimentConfig, measured: Measured) -> Iterator[str]:
    yield "## Scores"
    if not measured.splits:
        yield "None are known."
    else:
        yield (
            "Percent, on the splits of the data set above. Validation chose the epoch, so that its "
            "score flatters; the test split chose nothing."
        )
        yield _table(
            ("split", "posts", _COUNTED[config.task], "precision", "recall", "F1"),
            [_score_row(scores) for scores in measured.splits],
        )
        if rows := _type_rows(measured.splits):
            splits = (f"F1 {_SPLITS[scores.split]}" for scores in measured.splits)
            yield _table(("type", *splits), rows)
    if (seeds := measured.seeds) is not None:
        yield (
            f"The configuration over the seeds of the sweep `{_plain(seeds.sweep)}` (phase "
            f"{seeds.phase}), mean ± sample standard deviation; these weights are the seed with "
            "the best validation F1, and the mean says what to expect of another:"
        )
        yield _table(
            ("split", "F1", "seeds"),
            [
                (split, _mean(values), ", ".join(f"{s}: {v:.2f}" for s, v in values.items()))
                for split, values in (("validation", seeds.val), ("test", seeds.test))
                if values
            ],
        )


def _score_row(scores: SplitScores) -> tuple[str, ...]:
    counts = (f"{scores.num_posts:,}", f"{scores.num_gold:,}")
    return (_SPLITS[scores.split], *counts, *(_value(scores, name) for name in METRICS))


def _type_rows(splits: Sequence[SplitScores]) -> list[tuple[str, ...]]:
    names = sorted({name for scores in splits for name in scores.metrics if name[:3] == "f1_"})
    return [
        (
            f"`{_plain(name[3:])}`",
            *(_value(scores, name) for scores in splits),
        )
        for name in names
    ]


def _value(scores: SplitScores, metric: str) -> str:
    return f"{scores.metrics[metric]:.2f}" if metric in scores.metrics else ""


def _mean(values: Mapping[str, float]) -> str:
    scores = SeedScores(list(values.values()))
    return f"{scores.mean:.2f}" + ("" if scores.std is None else f" ± {scores.std:.2f}")


def _training(config: ExperimentConfig, record: RunRecord) -> Iterator[str]:
    yield "## Training"
    encoders = f"Text encoder `{_plain(config.text.encoder)}`"
    if config.image.encoder != "none":
        encoders += f", image encoder `{config.image.encoder}`"
    last = record.environments[-1]
    yield (
        f"{encoders}, alignment `{config.alignment.objective}`, fusion `{config.fusion.kind}`; "
        f"seed {record.seed}. All settings stand in `config.json`. Code `{last.code}`, torch "
        f"{last.versions.get('torch', 'unknown')}, on {_plain(last.device)}."
    )


def _limits(config: ExperimentConfig, record: RunRecord) -> Iterator[str]:
    yield "## Limits"
    limits = [
        "It knows the labels above and no others, as their data set annotated them.",
        f"Scores hold for posts like those of `{record.dataset}`; other languages, domains and "
        "times were not measured.",
        f"It reads {config.text.max_length} sub-words of text and context together; what is longer "
        "is cut, with a warning.",
        "A confidence is the model's own probability and was not calibrated.",
    ]
    if config.image.encoder != "none":
        limits.append("A post without a picture is read without one; how much worse it is then "
                      "found was not measured.")  # fmt: skip
    if config.data.contexts is not None:
        limits.append(f"Contexts came from `{config.data.contexts}`; other captions differ in "
                      "style.")  # fmt: skip
    limits.append("Posts tell of real people: what is found about them is personal data.")
    yield "\n".join(f"- {limit}" for limit in limits)


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _plain(text: str) -> str:
    """A name of others as it may stand in Markdown: one line, no markup."""
    kept = "".join(c if c.isprintable() and c not in "`|<>[]" else " " for c in text)
    return kept[:_LONGEST].strip()

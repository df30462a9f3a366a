"""A prepared data set as files again: preparing them gives the same data set.

`jsonl` and `datasets` hold all three tasks with their contexts; `conll` holds MNER. Pictures are
written as PNG squares beside the posts, or into the tables.
"""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from shapca.data.formats import Format
from shapca.data.images import ImageStore
from shapca.data.preparation.readers.own import LABELS_FILE
from shapca.data.prepared import PreparedData
from shapca.data.schema import SPLITS, Example
from shapca.errors import InputError
from shapca.storage.work_folder import work_folder

IMAGES = "images"
CONTEXTS = "contexts"
_HEADER = "# id ="
_ROWS = 64  # of a table that are in memory at once


def export(data: PreparedData, out: Path, form: Format) -> str:
    """Write a data set as files.

    Args:
        data: The data set.
        out: The folder to make.
        form: Of the files.

    Returns:
        The command that prepares them.

    Raises:
        InputError: `out` is taken, the data set is damaged, or the form cannot hold it.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: expected a folder that is not there, or empty")
    store = data.image_store()
    contexts = {name: data.contexts(name) for name in data.context_names}
    with work_folder(out) as work:
        labels = json.dumps(data.labels.to_json(), ensure_ascii=False, indent=2)
        (work.path / LABELS_FILE).write_text(labels + "\n", encoding="utf-8")
        for split in SPLITS:
            examples = data.splits[split]
            if form == "conll":
                if data.labels.task != "mner":
                    raise InputError(
                        f"{data.folder}: tagged words cannot hold {data.labels.task}; expected "
                        "--format jsonl or datasets"
                    )
                _write(work.path / f"{split}.conll", (_block(e, data.folder) for e in examples))
            elif form == "jsonl":
                lines = (json.dumps(record(e, contexts), ensure_ascii=False) for e in examples)
                _write(work.path / f"{split}.jsonl", (line + "\n" for line in lines))
            else:
                _write_table(work.path / f"{split}.parquet", examples, contexts, store)
        if store is not None and form != "datasets":
            (work.path / IMAGES).mkdir()
            for name in store.index:
                (work.path / IMAGES / f"{name}.png").write_bytes(_png(store, name))
        if form == "conll":
            for name, texts in contexts.items():
                (work.path / CONTEXTS).mkdir(exist_ok=True)
                _write(
                    work.path / CONTEXTS / f"{name}.jsonl",
                    (
                        json.dumps({"image": f"{image}.png", "text": text}, ensure_ascii=False)
                        + "\n"
                        for image, text in texts.items()
                    ),
                )
        work.move_into_place()
    return _command(data, out, form)


def record(example: Example, contexts: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """An example as a JSON line holds it; spans count words."""
    found = {name: texts[example.image or ""] for name, texts in contexts.items()
             if (example.image or "") in texts}  # fmt: skip
    value: dict[str, Any] = {
        "id": example.id,
        "words": list(example.words),
        "pos": list(example.pos),
    }
    if example.tags is not None:
        value["tags"] = list(example.tags)
    else:
        value["entities"] = [
            {"start": start, "end": end} | ({} if kind is None else {"type": kind})
            for start, end, kind in example.entities
        ]
        value["relations"] = [
            {"head": list(head), "tail": list(tail), "type": kind}
            for head, tail, kind in example.relations
        ]
    if example.image is not None:
        value["image"] = f"{example.image}.png"
    if found:
        value["context"] = found
    return value


def _block(example: Example, folder: Path) -> str:
    """A post as a block of lines `word<TAB>part of speech<TAB>tag`."""
    for word in example.words:
        if any(sign in word for sign in "\t\n\r"):
            raise InputError(
                f"{folder}: post {example.id!r} has a tab or a line break in the word {word!r}, "
                "which tagged words cannot hold; expected --format jsonl or datasets"
            )
    lines = [
        f"{_HEADER} {example.id}",
        f"# image = {f'{example.image}.png' if example.image is not None else ''}",
    ]
    rows = zip(example.words, example.pos, example.tags or (), strict=True)
    lines += ["\t".join(row) for row in rows]
    return "\n".join(lines) + "\n\n"


def _write(file: Path, texts: Iterator[str]) -> None:
    with file.open("w", encoding="utf-8", newline="\n") as handle:
        handle.writelines(texts)


def _png(store: ImageStore, name: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(store.array[store.index[name]]).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def _write_table(
    file: Path,
    examples: tuple[Example, ...],
    contexts: Mapping[str, Mapping[str, str]],
    store: ImageStore | None,
) -> None:
    """A split as parquet, as `datasets.load_dataset` reads it, pictures included."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(
            "--format datasets: writing tables needs pyarrow; pip install 'shap-ca[tables]'"
        ) from error
    text, number = pyarrow.string(), pyarrow.int64()
    entity = pyarrow.struct({"start": number, "end": number, "type": text})
    relation = pyarrow.struct(
        {"head": pyarrow.list_(number), "tail": pyarrow.list_(number), "type": text}
    )
    columns = {
        "id": text,
        "words": pyarrow.list_(text),
        "pos": pyarrow.list_(text),
        "tags": pyarrow.list_(text),
        "entities": pyarrow.list_(entity),
        "relations": pyarrow.list_(relation),
        "image_id": text,
        "image": pyarrow.struct({"bytes": pyarrow.binary(), "path": text}),
    }
    if contexts:
        columns["context"] = pyarrow.struct(dict.fromkeys(contexts, text))
    features = {"info": {"features": {"image": {"_type": "Image"}}}}
    schema = pyarrow.schema(columns, metadata={"huggingface": json.dumps(features)})
    with pyarrow.parquet.ParquetWriter(file, schema) as writer:
        for start in range(0, len(examples), _ROWS):
            rows = []
            for example in examples[start : start + _ROWS]:
                row = record(example, contexts)
                if (name := row.pop("image", None)) is not None:
                    row["image_id"] = name
                    if store is not None and (image := example.image or "") in store.index:
                        row["image"] = {"bytes": _png(store, image), "path": name}
                rows.append(row)
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))


def _command(data: PreparedData, out: Path, form: Format) -> str:
    words = ["shapca", "data", "prepare", data.name, "--format", form, "--source", str(out)]
    if form == "conll":
        words += ["--header", _HEADER, "--pos-column", "2"]
        for name in data.context_names:
            words += ["--contexts", f"{name}={out / CONTEXTS / name}.jsonl"]
    if data.labels.task == "mner":
        words += ["--scheme", "lenient"]
    size = data.manifest.image_size
    if size is not None and form != "datasets":
        words += ["--images", str(out / IMAGES)]
    if size is not None:
        words += ["--image-size", str(size)]
    return shlex.join([*words, "--out", f"{out}-prepared"])

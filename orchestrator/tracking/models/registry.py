"""Models in MLflow: logged to a run, registered once, found by name and alias.

A model is identified by what it was made of (the storage, the cell and its weights), kept as a tag:
asking for the same again finds it, also where an earlier attempt was cut off anywhere.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from orchestrator.tracking.client.addresses import parse_model_uri
from orchestrator.tracking.client.client import Tracking, TrackingRefusedError, translated
from orchestrator.tracking.models.model_package import (
    RUN_ARCHIVE,
    RUN_FOLDER,
    package,
    run_files,
)
from orchestrator.tracking.run_document import ModelDocument
from shapca.config import read_yaml
from shapca.errors import InputError
from shapca.storage import FolderStore, ObjectStore
from shapca.storage.archive import ArchiveStore

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

MODEL_KEY = "shapca.model_key"
MODEL_VERSIONS = "mlflow.modelVersions"  # by it the UI links a logged model to its versions
LOGGED_NAME = "model"


class Registry:
    """The models of one MLflow store.

    Args:
        tracking: Its client.
    """

    def __init__(self, tracking: Tracking) -> None:
        self._uri = tracking.uri
        self._client = tracking.client

    def ensure(
        self, model: ModelDocument, cell: ObjectStore, experiment: str, run_id: str, storage: str
    ) -> ModelVersion:
        """Log and register a cell's model unless that was done, and let the alias mean it.

        Args:
            model: Under which name, and what it is.
            cell: Store of the cell.
            experiment: Id of the experiment of its run.
            run_id: MLflow's id of the cell's run.
            storage: What tells this storage's models from another's.

        Raises:
            TrackingUnavailableError: MLflow does not answer; doing it again makes nothing double.
            TrackingRefusedError: MLflow refuses it, or the cell's weights are gone.
        """
        try:
            key = model_key(cell, storage, model.name)
        except InputError as error:
            raise TrackingRefusedError(str(error)) from None
        found = self._version(model.name, key)
        if found is None:
            logged = self._logged(model, cell, experiment, run_id, key)
            found = self._register(model, logged, run_id, key)
        elif found.run_id != run_id:  # the run was made anew, since MLflow lost it
            for logged in self._logged_models(experiment, key):
                self._link(run_id, logged.model_id)
        self._client.set_registered_model_alias(found.name, model.alias, found.version)
        return found

    def show(
        self, model: ModelDocument, cell: ObjectStore, experiment: str, run_id: str, storage: str
    ) -> None:
        """Show a registered model also with another run than its own: that of the sweep."""
        for logged in self._logged_models(experiment, model_key(cell, storage, model.name)):
            self._link(run_id, logged.model_id)

    def has(self, name: str, version: str) -> bool:
        """Whether a version of a registered model is there."""
        try:
            self._client.get_model_version(name, version)
        except TrackingRefusedError:
            return False
        return True

    def _version(self, name: str, key: str) -> ModelVersion | None:
        """The version of a registered model that has a key, if it is there and usable."""
        versions = self._client.search_model_versions(
            f"name = '{name}' and tag.`{MODEL_KEY}` = '{key}'"
        )
        ready = [version for version in versions if version.status == "READY"]
        return min(ready, key=lambda version: int(version.version), default=None)

    def download(self, uri: str, folder: Path) -> ObjectStore:
        """Fetch the run that a registered model was made of; code that comes with it is not run.

        Args:
            uri: `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
            folder: Where to put it.

        Returns:
            The run's objects, which lie in that folder.

        Raises:
            InputError: no such model, or one that was not made here.
            TrackingUnavailableError: MLflow does not answer.
        """
        try:
            return self._download(uri, folder)
        except TrackingRefusedError as error:
            raise InputError(f"{uri}: no such model in MLflow ({error})") from None

    def _download(self, uri: str, folder: Path) -> ObjectStore:
        name, version, is_alias = parse_model_uri(uri)
        if is_alias:
            version = self._client.get_model_version_by_alias(name, version).version
        if MODEL_KEY not in self._client.get_model_version(name, version).tags:
            raise InputError(
                f"models:/{name}/{version}: not a model that a sweep registered; load it with "
                "MLflow itself"
            )
        source = self._client.get_model_version_download_uri(name, version).rstrip("/")
        described = read_yaml(self._fetched(f"{source}/MLmodel", folder))
        try:
            place = described["flavors"]["python_function"]["artifacts"]["run"]["path"]
        except (KeyError, TypeError):
            place = None
        if place not in (RUN_ARCHIVE, RUN_FOLDER):
            raise InputError(f"models:/{name}/{version}: MLmodel names no run of ours: {place!r}")
        found = self._fetched(f"{source}/{place}", folder)
        return ArchiveStore(found) if place == RUN_ARCHIVE else FolderStore(found)

    def _fetched(self, source: str, folder: Path) -> Path:
        from mlflow.artifacts import download_artifacts

        with translated():
            found = download_artifacts(
                source, dst_path=str(folder), tracking_uri=self._uri, registry_uri=self._uri
            )
        return Path(found)

    def _logged(
        self, model: ModelDocument, cell: ObjectStore, experiment: str, run_id: str, key: str
    ) -> Any:
        """The logged model with a key, made whole where there is none."""
        found = self._logged_models(experiment, key)
        for logged in found:
            if logged.status == "READY" and logged.source_run_id == run_id:
                return logged
        for logged in found:  # cut off while it was made, or of a run that is gone
            self._client.delete_logged_model(logged.model_id)
        logged = self._client.create_logged_model(
            experiment,
            name=LOGGED_NAME,
            source_run_id=run_id,
            tags={MODEL_KEY: key, **model.tags},
            model_type="information extraction",
        )
        self._upload(model, cell, logged, run_id)
        self._link(run_id, logged.model_id)
        self._client.finalize_logged_model(logged.model_id, "READY")
        return logged

    def _logged_models(self, experiment: str, key: str) -> list[Any]:
        query = f"tags.`{MODEL_KEY}` = '{key}'"
        return list(self._client.search_logged_models([experiment], filter_string=query))

    def _upload(self, model: ModelDocument, cell: ObjectStore, logged: Any, run_id: str) -> None:
        with TemporaryDirectory() as folder:
            run, out = Path(folder, "run"), Path(folder, "model")
            copies = FolderStore(run)
            for name, content in run_files(cell):
                copies.put(name, content)
            identity = {
                "model_id": logged.model_id,
                "model_uuid": logged.model_id,
                "artifact_path": logged.artifact_location,
                "run_id": run_id,
            }
            with translated():
                package(run, out, about=model.tags, identity=identity)
            self._client.log_model_artifacts(logged.model_id, str(out))

    def _link(self, run_id: str, model_id: str) -> None:
        """Show the model among its run's outputs, once: MLflow refuses a second time."""
        from mlflow.entities import LoggedModelOutput

        outputs = self._client.get_run(run_id).outputs
        if outputs and any(shown.model_id == model_id for shown in outputs.model_outputs):
            return
        self._client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])

    def _register(self, model: ModelDocument, logged: Any, run_id: str, key: str) -> ModelVersion:
        with suppress(TrackingRefusedError):  # it is there, or the next call says what is wrong
            self._client.create_registered_model(model.name)
        version: ModelVersion = self._client.create_model_version(
            model.name,
            # Not `models:/<id>`, which MLflow looks up in the process's global store.
            logged.artifact_location,
            run_id=run_id,
            tags={MODEL_KEY: key, **model.tags},
            description=model.note,
            model_id=logged.model_id,
        )
        shown = json.dumps([{"name": model.name, "version": str(version.version)}])
        self._client.set_logged_model_tags(logged.model_id, {MODEL_VERSIONS: shown})
        return version


def model_key(cell: ObjectStore, storage: str, name: str) -> str:
    """What a model is made of, as 16 hexadecimal digits.

    Args:
        cell: Store of the cell.
        storage: The storage's identity.
        name: Registered name.

    Raises:
        InputError: the cell has no model, or its weights are gone.
    """
    digest = hashlib.sha256(f"{storage}\0{name}".encode())
    for path, content in run_files(cell):
        digest.update(f"\0{path}\0{len(content)}\0".encode() + hashlib.sha256(content).digest())
    return digest.hexdigest()[:16]

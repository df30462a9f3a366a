"""A finished run's best model, read back from its store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast, get_args

import torch
from torch import Tensor

from shapca.build import build_model, build_on_meta
from shapca.config import ExperimentConfig, Precision
from shapca.data.schema import Labels
from shapca.errors import InputError
from shapca.model.encoders import load_tokenizer
from shapca.model.encoders.processing import image_size
from shapca.model.network import ShapCA
from shapca.runs.encoder_files import with_encoder_files
from shapca.runs.epochs import read_result
from shapca.runs.layout import best_weights
from shapca.runs.run_record import RunRecord, load_run
from shapca.runs.saved import (
    WEIGHTS,
    Measured,
    SavedFolder,
    is_saved,
    measured_in,
    read_description,
)
from shapca.runs.tensors import unpack
from shapca.storage import FolderStore, ObjectStore, place_name


@dataclass(frozen=True)
class TrainedModel:
    """A model with all that is needed to use it.

    Attributes:
        record: What the run was.
        model: The best weights, in evaluation mode.
        tokenizer: The text encoder's.
        device: Where the model is.
        config: The run's configuration; `image.size` is a number even where its encoder gave it.
        encoder_files: The encoders' own files by name, as they are kept with the run.
        measured: What is known of the model.
        precision: How it computes: as the run did, unless `with_precision` says otherwise.
    """

    record: RunRecord
    model: ShapCA
    tokenizer: Any
    device: torch.device
    config: ExperimentConfig
    encoder_files: Mapping[str, bytes]
    measured: Measured
    precision: Precision

    @property
    def labels(self) -> Labels:
        """The label sets that the model tells apart."""
        return self.record.labels

    def with_precision(self, precision: str | None) -> TrainedModel:
        """The same model, computing otherwise.

        Args:
            precision: As `optimisation.precision`; None: as the run did.

        Raises:
            InputError: no such precision.
        """
        precision = precision or self.config.optimisation.precision
        if precision not in (known := get_args(Precision)):
            raise InputError(f"precision {precision!r}: expected {', '.join(known)}")
        return replace(self, precision=cast(Precision, precision))

    @classmethod
    def load(cls, run: str | Path | ObjectStore, device: torch.device) -> TrainedModel:
        """Read the best weights of a run; neither pretrained weights nor a hub are needed.

        Args:
            run: Folder or store of the run, or the folder of a saved model.
            device: Where the model shall be.

        Raises:
            InputError: no run, one that is not finished, one without its weights, or one whose
                weights are not those that it describes: no model is built then.
        """
        if isinstance(run, SavedFolder):
            return cls._assembled(run, *read_description(run), WEIGHTS, device)
        if isinstance(run, str | Path) and is_saved(Path(run)):
            return cls.load(SavedFolder(run), device)
        store = open_store(run)
        record = load_run(store)
        epoch = best_epoch(store, place_name(run))
        return cls._assembled(store, record, measured_in(store), best_weights(epoch), device)

    @classmethod
    def _assembled(
        cls,
        store: ObjectStore,
        record: RunRecord,
        measured: Measured,
        weights_name: str,
        device: torch.device,
    ) -> TrainedModel:
        place = place_name(store)
        weights = unpack(store, weights_name)
        with TemporaryDirectory() as name:
            folder = Path(name)
            config = with_encoder_files(store, record.config, folder)
            _check_weights(weights, config, record.labels, place)
            model = build_model(config, record.labels, device=device, pretrained=False)
            tokenizer = load_tokenizer(config.text.encoder)
            files = {
                file.relative_to(folder).as_posix(): file.read_bytes()
                for file in sorted(folder.rglob("*"))
                if file.is_file()
            }
            image = record.config.image
            if image.encoder != "none":
                image = image.model_copy(update={"size": image_size(config.image)})
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            raise InputError(
                f"{place}: its weights do not fit its configuration ({error})"
            ) from error
        config = record.config.model_copy(update={"image": image})
        return cls(
            record, model.eval(), tokenizer, device, config, files, measured,
            config.optimisation.precision,
        )  # fmt: skip


def _check_weights(
    weights: Mapping[str, Tensor], config: ExperimentConfig, labels: Labels, place: str
) -> None:
    """Hold weights against what a run describes, which may be of any size, before it is built."""
    with torch.random.fork_rng(devices=[]):
        described = build_on_meta(config, labels).state_dict()
    for name in sorted({*described, *weights}):
        ours, theirs = described.get(name), weights.get(name)
        if (
            ours is None
            or theirs is None
            or (ours.shape, ours.dtype) != (theirs.shape, theirs.dtype)
        ):
            raise InputError(
                f"{place}: its weights do not fit its configuration: {name[:200]!r}: expected "
                f"{_shown(ours)}, found {_shown(theirs)}"
            )
        if not bool(torch.isfinite(theirs).all()):
            raise InputError(f"{place}: its weights are damaged: {name!r} holds what is no number")


def _shown(tensor: Tensor | None) -> str:
    return "nothing" if tensor is None else f"{tuple(tensor.shape)} of {tensor.dtype}"


def open_store(run: str | Path | ObjectStore) -> ObjectStore:
    """The store of a run given as such or by its folder.

    Raises:
        InputError: no such folder.
    """
    if not isinstance(run, str | Path):
        return run
    if not Path(run).is_dir():
        raise InputError(f"{run}: no such folder; expected the folder of a run")
    return FolderStore(run)


def best_epoch(store: ObjectStore, place: str) -> int:
    """The best epoch of a run that has ended.

    Raises:
        InputError: the run has not ended, or ended before its first epoch.
    """
    result = read_result(store)
    if result is None:
        raise InputError(f"{place}: the run is not finished; resume it by `shapca train`")
    if result["best_epoch"] is None:
        raise InputError(f"{place}: the run has no model: {result['reason']}")
    return int(result["best_epoch"])

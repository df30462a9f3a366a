"""Contexts that are the text within a picture, read by RapidOCR; nothing is downloaded or drawn.

Its models come with the package `rapidocr`. A picture without text gives an empty context.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shapca.contexts.generators.generator import Answer, Request
from shapca.errors import InputError
from shapca.model.encoders.weights import package_folder

NAME = "rapidocr"
PACKAGES = ("rapidocr", "onnxruntime")
MODELS = {"Det": "*_det_*.onnx", "Cls": "*_cls_*.onnx", "Rec": "*_rec_*.onnx"}
"""Part of RapidOCR to file: finds lines, turns them upright, reads them."""
LEAST_SCORE = 0.5
"""Lines that it is less sure of are left out."""


def fingerprint(name: str) -> str:
    """SHA-256 of the models' files.

    Raises:
        InputError: another name, no package, or one without its models.
    """
    from shapca.data.manifest import hash_file

    lines = [f"{part} {hash_file(file)}\n" for part, file in _models(name).items()]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def sampling() -> dict[str, Any]:
    """What shapes the text beside the models."""
    versions = {package: importlib.metadata.version(package) for package in PACKAGES}
    return {"least_score": LEAST_SCORE, **versions}


class OcrGenerator:
    """The reader, its models loaded, on one thread: another number may change a letter.

    Args:
        name: `rapidocr`.

    Raises:
        InputError: no package, or one without its models.
    """

    def __init__(self, name: str) -> None:
        models = _models(name)
        from rapidocr import RapidOCR

        threads = "EngineConfig.onnxruntime.{}_op_num_threads"
        self._read = RapidOCR(
            params={
                "Global.log_level": "critical",
                "Global.text_score": LEAST_SCORE,
                threads.format("intra"): 1,
                threads.format("inter"): 1,
                # A model that is named is never looked for elsewhere, nor downloaded.
                **{f"{part}.model_path": str(file) for part, file in models.items()},
            }
        )

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """The lines of each picture, from top to bottom, in one line."""
        answers = []
        for request in requests:
            pixels = np.asarray(request.picture)[:, :, ::-1]  # it takes blue first
            lines = self._read(np.ascontiguousarray(pixels)).txts or ()
            answers.append(Answer(text=" ".join(" ".join(lines).split())))
        return answers


def _models(name: str) -> dict[str, Path]:
    if name != NAME:
        raise InputError(f"--generator ocr:{name}: expected ocr:{NAME}")
    folders = [package_folder(package, f"--generator ocr:{NAME}", "ocr") for package in PACKAGES]
    found = {part: sorted((folders[0] / "models").glob(MODELS[part])) for part in MODELS}
    for part, files in found.items():
        if len(files) != 1:
            raise InputError(
                f"--generator ocr:{NAME}: {folders[0] / 'models'}: expected one file "
                f"{MODELS[part]}, found {len(files)}; install the package anew"
            )
    return {part: files[0] for part, files in found.items()}

"""From settings to a generator, and what identifies it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from shapca.contexts.generators.generator import Generator, Identity
from shapca.contexts.settings import GenerationSettings
from shapca.errors import InputError


def fingerprint(name: str) -> str:
    """SHA-256 of a file of captions.

    Raises:
        InputError: no such file.
    """
    from shapca.data.manifest import hash_file

    if not Path(name).is_file():
        raise InputError(f"--generator captions:{name}: no such file; expected captions")
    return hash_file(Path(name))


def identify(settings: GenerationSettings) -> Identity:
    """The identity of what settings ask for, found without loading a model.

    Raises:
        InputError: the model, file or key that they need is not there.
    """
    if settings.kind == "captions":
        return Identity(settings.generator, fingerprint(settings.name), None, {})
    if settings.kind == "ocr":
        from shapca.contexts.generators import ocr

        return Identity(settings.generator, ocr.fingerprint(settings.name), None, ocr.sampling())
    if settings.kind == "labels":
        from shapca.contexts.generators import labels

        model = labels.fingerprint(settings.name)
        return Identity(settings.generator, model, None, labels.sampling())
    sampling: dict[str, Any] = {
        "temperature": settings.temperature,
        "max_new_tokens": settings.max_new_tokens,
        "seed": settings.seed,
        "keep_cut": settings.keep_cut,
    }
    if settings.kind == "hf":
        from shapca.contexts.generators.hugging_face import fingerprint as hash_model

        model = hash_model(settings.name)
        sampling["dtype"] = settings.dtype
    else:
        from shapca.contexts.generators.endpoint import check_endpoint

        check_endpoint(settings.endpoint)
        model = settings.name
    prompt = hashlib.sha256(settings.prompt.encode()).hexdigest()
    return Identity(settings.generator, model, prompt, sampling)


def open_generator(settings: GenerationSettings) -> Generator:
    """The generator that settings ask for, ready to answer; a model is loaded here.

    Raises:
        InputError: the model, key or device is not there.
    """
    if settings.kind == "hf":
        from shapca.contexts.generators.hugging_face import HuggingFaceGenerator

        return HuggingFaceGenerator(settings)
    if settings.kind == "openai":
        from shapca.contexts.generators.endpoint import EndpointGenerator

        return EndpointGenerator(settings)
    if settings.kind == "ocr":
        from shapca.contexts.generators.ocr import OcrGenerator

        return OcrGenerator(settings.name)
    if settings.kind == "labels":
        from shapca.contexts.generators.labels import LabelGenerator

        return LabelGenerator(settings.name, settings.device)
    raise InputError(f"{settings.generator}: ready-made captions need no model")

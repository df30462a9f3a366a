"""Models of transformers, read complete or not at all."""

from __future__ import annotations

from typing import Any

import torch

from shapca.errors import InputError
from shapca.model.encoders.architecture import Architecture, check_size
from shapca.model.encoders.tokenizers import quiet
from shapca.model.encoders.weights import MODEL_FILES, locate


def load_transformer(
    architecture: Architecture,
    name: str,
    key: str,
    *,
    files: tuple[str, ...] = MODEL_FILES,
    optional: tuple[str, ...] = (),
) -> Any:
    """Read a transformers model in float32 from a folder or a hub, complete or not at all.

    Args:
        architecture: What it is.
        name: Hub name, folder or `minilm`.
        key: The config key, for messages.
        files: Patterns of what is fetched from a hub.
        optional: Prefixes of weights that a checkpoint may lack.

    Raises:
        InputError: no such model, unreadable weights, or weights that are missing or misshapen.
    """
    folder = locate(name, key, files)
    check_size(architecture, folder)
    model = architecture.model
    try:
        with quiet():
            loaded, report = model.from_pretrained(
                folder, config=architecture.config, dtype=torch.float32, local_files_only=True,
                output_loading_info=True, **architecture.options(),
            )  # fmt: skip
    except Exception as error:  # whatever a damaged file of a dozen kinds makes it raise
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(f"{architecture.place}: weights cannot be read ({first})") from error
    missing = sorted(name for name in report["missing_keys"] if not name.startswith(optional))
    wrong = missing + sorted(str(entry) for entry in report["mismatched_keys"])
    if wrong:
        raise InputError(
            f"{architecture.place}: the checkpoint does not fit {model.__name__}: "
            f"{len(wrong)} weights missing or of another shape, first {wrong[0]}"
        )
    return loaded

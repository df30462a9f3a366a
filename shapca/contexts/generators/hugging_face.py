"""Contexts from a model of transformers: LLaVA, BLIP-2, Qwen-VL and others of image and text.

Weights are read from safetensors alone, and no code that comes with a model is run.
"""

from __future__ import annotations

import contextlib
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapca.contexts.generators.generator import Answer, Request
from shapca.contexts.settings import GenerationSettings
from shapca.errors import InputError
from shapca.model.encoders.fingerprints import model_fingerprint
from shapca.model.encoders.weights import locate

if TYPE_CHECKING:
    from transformers import GenerationConfig

KEY = "--generator"
# What a folder of such a model holds, as far as it is read here: never pickles, never Python.
MODEL_FILES = ("*.json", "*.jinja", "*.txt", "*.model", "model*.safetensors")


def fingerprint(name: str) -> str:
    """A model by its content: SHA-256 of a folder's files, or `name@commit` of a hub's model.

    Raises:
        InputError: no such folder, or a hub that cannot be asked.
    """
    if name == "minilm":
        raise InputError(f"{KEY} hf:{name}: a model of text alone; expected one of image and text")
    folder = _folder(name)
    _check_config(folder, name)
    return model_fingerprint(name, KEY, MODEL_FILES)


def _folder(name: str) -> Path:
    folder = locate(name, KEY, MODEL_FILES)
    if not any(folder.glob("model*.safetensors")):
        raise InputError(
            f"{KEY} hf:{name}: no weights there; expected model.safetensors (pickled weights are "
            "not read)"
        )
    return folder


def _check_config(folder: Path, name: str) -> None:
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    try:
        chosen = _code_of_a_hub(json.loads((folder / "config.json").read_bytes()))
        if chosen is not None:
            raise InputError(
                f"{KEY} hf:{name}: its config.json sets {chosen}, for which transformers may fetch "
                "code from a hub; expected a model without it"
            )
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except InputError:
        raise
    except Exception as error:  # whatever a damaged file makes transformers raise
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(f"{KEY} hf:{name}: no model that transformers knows: {first}") from error
    if config.model_type not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        raise InputError(
            f"{KEY} hf:{name}: model_type {config.model_type!r} does not describe pictures; "
            "expected a model of image and text, such as llava, blip-2 or qwen2_vl"
        )


def _code_of_a_hub(tree: Any) -> str | None:
    """The key of a `config.json` that chooses attention kernels or quantisation, at any depth."""
    if isinstance(tree, list):
        return next((key for part in tree if (key := _code_of_a_hub(part))), None)
    if not isinstance(tree, dict):
        return None
    for key, value in tree.items():
        if key in ("use_kernels", "kernel_config", "quantization_config") and value:
            return str(key)
        if key.endswith("_implementation") and not re.fullmatch(r"\w+", str(value)):
            return str(key)
        if (below := _code_of_a_hub(value)) is not None:
            return below
    return None


class HuggingFaceGenerator:
    """A loaded model.

    Args:
        settings: With `hf:…` as generator.

    Raises:
        InputError: the folder holds no such model, or the device is not there.
    """

    def __init__(self, settings: GenerationSettings) -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        from shapca.model.device import choose_device

        self._settings = settings
        self._device = choose_device(settings.device, "--device")
        name = settings.generator
        folder = _folder(settings.name)
        _check_config(folder, settings.name)
        try:
            self._processor = AutoProcessor.from_pretrained(
                folder, trust_remote_code=False, local_files_only=True
            )
            with _no_progress_bar():
                model, loading = AutoModelForImageTextToText.from_pretrained(
                    folder,
                    dtype=settings.dtype,
                    use_safetensors=True,
                    trust_remote_code=False,
                    local_files_only=True,
                    output_loading_info=True,
                )
        except Exception as error:  # whatever a damaged file of a dozen kinds makes it raise
            first = str(error).strip().partition("\n")[0] or type(error).__name__
            raise InputError(f"{KEY} {name}: cannot be loaded: {first}") from error
        # transformers would go on with random numbers in their place.
        if lacking := sorted({*loading["missing_keys"], *map(str, loading["mismatched_keys"])}):
            raise InputError(
                f"{KEY} {name}: {len(lacking)} weights missing or of another shape, e.g. "
                f"{lacking[0]}: not a whole {model.config.model_type} model"
            )
        tokenizer = getattr(self._processor, "tokenizer", None)
        if tokenizer is None:
            raise InputError(f"{KEY} {name}: its folder holds no processor with a tokenizer")
        self._tokenizer = tokenizer
        # A decoder writes on at the right end, so shorter questions are padded at the left.
        tokenizer.padding_side = "left"
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        self._model = model.eval().to(self._device)
        self._generation = self._generation_config()
        self._check_prompt()

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """Describe pictures, as one batch."""
        import torch

        from shapca.contexts.generators.sampling import SeededSampler

        inputs = self._inputs(requests)
        if "attention_mask" in inputs:
            num_read = inputs["attention_mask"].sum(-1).tolist()
        else:
            num_read = [None] * len(requests)
        sampler = SeededSampler(
            [request.seed for request in requests],
            self._settings.temperature,
            self._settings.max_new_tokens,
            self._stops,
        )
        with torch.inference_mode(), warnings.catch_warnings(action="ignore"):
            self._model.generate(
                **inputs, generation_config=self._generation, logits_processor=[sampler]
            )
        return [
            Answer(
                text=self._tokenizer.decode(tokens, skip_special_tokens=True).strip(),
                ended=ended,
                prompt_tokens=read,
                tokens=written,
            )
            for (tokens, ended), read, written in zip(
                sampler.texts(), num_read, sampler.num_tokens, strict=True
            )
        ]

    def _inputs(self, requests: Sequence[Request]) -> Any:
        if self._uses_chat:
            question = {"type": "text", "text": self._settings.prompt}
            contents = [[{"type": "image", "image": r.picture}, question] for r in requests]
            batch = self._processor.apply_chat_template(
                [[{"role": "user", "content": content}] for content in contents],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                processor_kwargs={"padding": True, "return_tensors": "pt"},
            )
        else:
            batch = self._processor(
                images=[request.picture for request in requests],
                text=[self._settings.prompt] * len(requests),
                padding=True,
                return_tensors="pt",
            )
        return batch.to(self._device, dtype=self._model.dtype)  # only what is not whole numbers

    @property
    def _uses_chat(self) -> bool:
        return bool(getattr(self._processor, "chat_template", None))

    def _check_prompt(self) -> None:
        """A model without a chat template takes the prompt as written, so it must be complete."""
        if self._uses_chat or self._model.config.model_type in _PLACES_PICTURE_ITSELF:
            return
        token = getattr(self._processor, "image_token", None)
        token = getattr(token, "content", token)
        if token is not None and token not in self._settings.prompt:
            raise InputError(
                f"{KEY} {self._settings.generator}: it has no chat template, so the prompt must "
                f"say where the picture stands: write {token} into it, as the model's card shows"
            )

    def _generation_config(self) -> GenerationConfig:
        """Nothing but where texts begin and end: a model's own sampling would go unrecorded."""
        from transformers import GenerationConfig

        # BLIP-2 generates with its inner model.
        models = [self._model, getattr(self._model, "language_model", None)]
        models = [m for m in models if getattr(m, "generation_config", None) is not None]
        configs = [model.generation_config for model in models]
        kept: dict[str, Any] = {}
        for name in ("eos_token_id", "pad_token_id", "bos_token_id", "decoder_start_token_id"):
            values = [getattr(config, name, None) for config in configs]
            kept[name] = next((value for value in values if value is not None), None)
        if kept["eos_token_id"] is None:
            kept["eos_token_id"] = self._tokenizer.eos_token_id
        if kept["pad_token_id"] is None:
            kept["pad_token_id"] = self._tokenizer.pad_token_id
        ends = kept["eos_token_id"]
        self._stops = set(ends) if isinstance(ends, list | tuple) else {ends}
        for model in models:
            model.generation_config = GenerationConfig(**kept)
        return GenerationConfig(
            **kept, do_sample=False, num_beams=1, max_new_tokens=self._settings.max_new_tokens
        )


_PLACES_PICTURE_ITSELF = ("blip", "blip-2", "instructblip")


@contextlib.contextmanager
def _no_progress_bar() -> Iterator[None]:
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()

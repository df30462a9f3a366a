"""What is asked of a generator, checked, and the seed of each picture."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from shapca.errors import InputError

Kind = Literal["hf", "openai", "ocr", "labels", "captions"]
DType = Literal["auto", "float32", "bfloat16", "float16"]
KINDS: tuple[Kind, ...] = get_args(Kind)
DTYPES: tuple[DType, ...] = get_args(DType)
FORMS = "hf:MODEL-OR-FOLDER, ocr:rapidocr, labels:efficientnet-lite0, openai:MODEL or captions:FILE"

PROMPT = (
    "Describe this picture from a social media post in one or two sentences: the people, "
    "organisations, places, objects and events in it, and any readable text."
)
"""The prompt where none is given. The paper does not give its own."""

REFUSALS = (
    r"^(i['’]m|i am) (very |really |so )?(sorry|unable|not able)\b",
    r"^(i )?(sorry|apologi[sz]e)\b",
    r"^i (can(['’]|no)t|can not|won['’]t|will not) (help|assist|describe|identify|provide|comply)",
    r"^(unfortunately, )?(as|being) an ai\b",
)
"""How an answer begins that is a refusal in words, whatever the case of its letters."""

_SEED_BITS = 31  # what every endpoint takes for a seed


@dataclass(frozen=True)
class EndpointSettings:
    """How an endpoint that speaks the OpenAI protocol is asked. The key is never in here.

    Attributes:
        base_url: Address of the endpoint; `None`: the client's own default.
        key_variable: Name of the environment variable that holds the key.
        requests_per_minute: Limit on requests, faults included; `None`: no limit.
        timeout: Seconds until an answer is given up.
        max_retries: How often a request is repeated after a fault.
        max_wait: Seconds to wait at most between two requests, whatever the endpoint asks for.
        price_in: Price of a million tokens read; `None`: cost is not counted.
        price_out: Price of a million tokens written.
        token_limit_name: What the endpoint calls the limit on new tokens.
    """

    base_url: str | None = None
    key_variable: str = "OPENAI_API_KEY"
    requests_per_minute: float | None = None
    timeout: float = 120.0
    max_retries: int = 6
    max_wait: float = 120.0
    price_in: float | None = None
    price_out: float | None = None
    token_limit_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"


@dataclass(frozen=True)
class GenerationSettings:
    """One kind of context: who is asked, what, and how.

    Attributes:
        generator: `hf:…`, `openai:…`, `ocr:…`, `labels:…` or `captions:…`.
        prompt: The question put to the model.
        temperature: 1 samples from the model's own distribution, 0 takes the likeliest token.
        max_new_tokens: Longest answer, in the model's tokens.
        seed: With the picture's hash it fixes what is drawn.
        attempts: Answers to ask for, at most, until one is accepted.
        keep_cut: Accept an answer that was cut at `max_new_tokens`.
        refusals: Regular expressions; an answer in which one is found is a refusal.
        batch_size: Pictures at once (`hf`), or requests at once (`openai`).
        dtype: Of the weights; `auto`: as they were saved.
        device: `auto`, `cpu`, `cuda:0` …
        endpoint: Of `openai`.
    """

    generator: str
    prompt: str = PROMPT
    temperature: float = 1.0
    max_new_tokens: int = 128
    seed: int = 0
    attempts: int = 3
    keep_cut: bool = False
    refusals: tuple[str, ...] = REFUSALS
    batch_size: int = 8
    dtype: DType = "auto"
    device: str = "auto"
    endpoint: EndpointSettings = EndpointSettings()

    def __post_init__(self) -> None:
        from shapca.data.preparation.readers.source import checked_text

        checked_text(self.generator, "--generator")
        kind, colon, name = self.generator.partition(":")
        if not colon or kind not in KINDS or not name.strip():
            raise InputError(f"--generator {self.generator!r}: expected {FORMS}")
        if not self.prompt.strip() and kind == "openai":
            raise InputError("the prompt is empty; an endpoint needs a question")
        if self.dtype not in DTYPES:
            raise InputError(f"--dtype {self.dtype!r}: expected one of {', '.join(DTYPES)}")
        for pattern in self.refusals:
            try:
                re.compile(pattern)
            except re.error as error:
                raise InputError(
                    f"--refusal {pattern!r}: not a regular expression: {error}"
                ) from None

    @property
    def kind(self) -> Kind:
        """Which sort of generator."""
        kind = self.generator.partition(":")[0]
        return next(known for known in KINDS if known == kind)

    @property
    def name(self) -> str:
        """Model, folder or file."""
        return self.generator.partition(":")[2]

    @property
    def is_drawn(self) -> bool:
        """Whether another attempt may bring another answer."""
        return self.kind in ("hf", "openai") and self.temperature > 0

    def is_refusal(self, text: str) -> bool:
        """Whether an answer is a refusal in words; what stands in a picture never is."""
        if self.kind in ("ocr", "labels"):
            return False
        return any(re.search(pattern, text, re.IGNORECASE) for pattern in self.refusals)


def read_prompt(file: Path) -> str:
    """The prompt that a file holds, without white space around it.

    Raises:
        InputError: no such file, no UTF-8 text, or nothing in it.
    """
    from shapca.data.preparation.readers.source import read_text

    prompt = read_text(file).strip()
    if not prompt:
        raise InputError(f"{file}: empty; expected the prompt")
    return prompt


def seed_of(seed: int, image_sha256: str, attempt: int) -> int:
    """The seed of one attempt at one picture: the same wherever and beside whatever it runs.

    Args:
        seed: Of the run.
        image_sha256: Of the picture.
        attempt: 0 for the first.
    """
    digest = hashlib.sha256(f"{seed}:{image_sha256}:{attempt}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - _SEED_BITS)

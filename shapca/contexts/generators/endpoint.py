"""Contexts from an endpoint that speaks the OpenAI protocol: OpenAI's own, vLLM's, and others.

The key is taken from the environment when a generator is opened. It is kept out of settings,
records and messages; an endpoint that echoes it is masked.
"""

from __future__ import annotations

import base64
import io
import os
import threading
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from shapca.contexts.generators.generator import Answer, Request
from shapca.contexts.generators.pace import Pace, asked_wait, back_off
from shapca.contexts.settings import EndpointSettings, GenerationSettings
from shapca.data.decoding import is_deep, open_picture, upright_rgb
from shapca.errors import InputError

_SENT_AS_IS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
_MASK = "***"
_SHOWN = 300
MAX_TOKENS = 10_000_000
"""More than any model reads or writes at once."""
_ADDRESS_EXPECTED = "expected an address such as http://127.0.0.1:8000/v1"


class EndpointStopped(RuntimeError):
    """The endpoint will not answer anything more, e.g. because the account is used up."""


def check_endpoint(endpoint: EndpointSettings) -> None:
    """Make sure that there is a key and an address, before anything is read.

    Raises:
        InputError: no client, no key, or an address that is none or that holds a password.
    """
    from importlib.util import find_spec

    if find_spec("openai") is None:
        raise InputError("openai:… needs the package openai: pip install 'shap-ca[openai]'")
    _key(endpoint)
    if endpoint.base_url is None:
        return
    try:
        parts = urlsplit(endpoint.base_url)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        whole = False
    if not whole:
        raise InputError(f"--base-url: {_ADDRESS_EXPECTED}")
    if parts.username or parts.password:
        raise InputError(
            "--base-url: holds a user or a password; put the key into the environment variable "
            f"{endpoint.key_variable} instead"
        )


def _key(endpoint: EndpointSettings) -> str:
    key = os.environ.get(endpoint.key_variable, "").strip()
    if not key:
        raise InputError(
            f"{endpoint.key_variable} is not set: put the endpoint's key into that environment "
            "variable (any word for a server that asks for none)"
        )
    return key


class EndpointGenerator:
    """Sends one request a picture, several at once.

    Args:
        settings: With `openai:…` as generator.

    Raises:
        InputError: no key, or a bad address.
    """

    def __init__(self, settings: GenerationSettings) -> None:
        check_endpoint(settings.endpoint)
        import openai

        from shapca.contexts.generators.bounded import bounded_client

        timeout = settings.endpoint.timeout
        self._settings = settings
        self._endpoint = settings.endpoint
        self._key = _key(settings.endpoint)
        # The client's own retries are off: ours are counted, and share one pace.
        try:
            self._client: Any = openai.OpenAI(
                api_key=self._key,
                base_url=settings.endpoint.base_url,
                timeout=timeout,
                max_retries=0,
                http_client=bounded_client(openai.DefaultHttpxClient, timeout),
            )
        except Exception as error:  # of the HTTP client, which is pickier about hosts and ports
            if settings.endpoint.base_url is None:
                raise
            raise InputError(f"--base-url: {error}; {_ADDRESS_EXPECTED}") from error
        self._fatal: Exception | None = None
        self._ended = threading.Event()  # wakes threads that wait for their turn
        self._pace = Pace(settings.endpoint.requests_per_minute, sleep=self._ended.wait)

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """Describe pictures, each by a request of its own.

        A fatal answer tells of an unknown key or model (InputError), or of an account that is used
        up (EndpointStopped). After it nothing more is sent, and what was sent is waited for, since
        it is paid for.
        """
        answers: dict[int, Answer] = {}
        self._fatal = None
        self._ended.clear()

        def work(index: int, request: Request) -> None:
            try:
                answers[index] = self._answer_one(request)
            except (InputError, EndpointStopped) as error:
                self._fatal = error
                self._ended.set()
                answers[index] = Answer(fatal=error)
            except Exception as error:  # fails alone: the others' answers are paid for
                failure = self._masked(f"{type(error).__name__}: {error}")
                answers[index] = Answer(failure=failure)

        # Daemons: an interrupt waits neither for an answer nor for a pause that was asked for.
        threads = [
            threading.Thread(target=work, args=item, daemon=True) for item in enumerate(requests)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [answers[index] for index in range(len(requests))]

    def _answer_one(self, request: Request) -> Answer:
        import openai

        from shapca.contexts.generators.bounded import AnswerTooLarge, within

        fault, timeout = "", self._endpoint.timeout
        for repetition in range(self._endpoint.max_retries + 1):
            self._pace.wait()
            if self._fatal is not None:
                raise self._fatal
            try:
                return self._read(within(timeout, lambda: self._send(request)), repetition)
            except openai.APIStatusError as error:
                said = error.message.removeprefix(f"Error code: {error.status_code} - ")
                fault = f"HTTP {error.status_code}: {self._masked(said)}"
                if (refusal := _refusal(error)) is not None:
                    return Answer(refusal=self._masked(refusal), retries=repetition)
                self._check_hopeless(error, fault)
                if error.status_code < 500 and error.status_code not in (408, 409, 425, 429):
                    return Answer(failure=fault, retries=repetition)
                wait = asked_wait(error.response.headers)
            except (openai.APIConnectionError, openai.APIResponseValidationError) as error:
                fault, wait = self._masked(f"{type(error).__name__}: {error.message}"), None
            except AnswerTooLarge as error:  # paid for, and so would others be
                return Answer(failure=str(error), retries=repetition)
            except TimeoutError as error:
                fault, wait = str(error), None
            except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
                fault, wait = self._masked(f"not a chat completion: {error}"), None
            if repetition == self._endpoint.max_retries:
                break
            if wait is None:
                self._ended.wait(back_off(repetition, self._endpoint.max_wait))
            elif wait > self._endpoint.max_wait:
                fault += f" (asks to wait {wait:.0f} s)"
                return Answer(failure=fault, retries=repetition)
            else:
                self._pace.pause(wait)
        return Answer(failure=fault, retries=self._endpoint.max_retries)

    def _send(self, request: Request) -> Any:
        limit = {self._endpoint.token_limit_name: self._settings.max_new_tokens}
        content = [
            {"type": "text", "text": self._settings.prompt},
            {"type": "image_url", "image_url": {"url": data_url(request.content)}},
        ]
        return self._client.chat.completions.create(
            model=self._settings.name,
            messages=[{"role": "user", "content": content}],
            temperature=self._settings.temperature,
            seed=request.seed,
            **limit,
        )

    def _read(self, completion: Any, retries: int) -> Answer:
        """An answer from a completion.

        Raises:
            ValueError, TypeError, …: it is none; the client checks no fields.
        """
        choice = completion.choices[0]
        said, reason = choice.message.content, choice.finish_reason
        refusal = getattr(choice.message, "refusal", None)
        if reason == "content_filter" and not refusal:
            refusal = "content_filter"
        if said is None and refusal is None and reason is None:
            raise ValueError("neither text nor reason in it")
        if not isinstance(said, str | None):
            raise TypeError(f"the text is {type(said).__name__}")
        read = _count(completion.usage, "prompt_tokens", 1)
        written = _count(completion.usage, "completion_tokens", 1 if said else 0)
        return Answer(
            text=self._masked((said or "").strip(), len(said or "")),
            ended=reason != "length",
            refusal=None if refusal is None else self._masked(str(refusal)),
            prompt_tokens=read,
            tokens=written,
            cost=self._cost(read, written),
            retries=retries,
        )

    def _cost(self, read: int | None, written: int | None) -> float | None:
        price_in, price_out = self._endpoint.price_in, self._endpoint.price_out
        if (price_in is None and price_out is None) or read is None or written is None:
            return None
        return (read * (price_in or 0.0) + written * (price_out or 0.0)) / 1e6

    def _check_hopeless(self, error: Any, fault: str) -> None:
        """Faults that the next picture would meet as well end the run at once."""
        if error.status_code in (401, 403):
            raise InputError(
                f"{self._settings.generator}: the endpoint refuses the key in "
                f"{self._endpoint.key_variable} ({fault})"
            )
        if error.status_code == 404:
            raise InputError(f"{self._settings.generator}: no such model or address ({fault})")
        if error.code == "insufficient_quota":
            raise EndpointStopped(f"{self._settings.generator}: {fault}")

    def _masked(self, text: str, limit: int = _SHOWN) -> str:
        """What the endpoint said, without the key; half a character becomes U+FFFD, as in models'
        own tokenizers, since an answer may be cut inside one.
        """
        whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return whole.replace(self._key, _MASK)[:limit]


def _count(usage: Any, name: str, least: int) -> int | None:
    """A number of tokens as the endpoint counts them; `None` where that can be no count."""
    counted = getattr(usage, name, None)
    if type(counted) is not int or not least <= counted <= MAX_TOKENS:
        return None
    return counted


def _refusal(error: Any) -> str | None:
    """Why an endpoint would not take a picture, where an error says just that."""
    inner = error.body.get("innererror") if isinstance(error.body, dict) else None
    codes = [error.code, inner.get("code") if isinstance(inner, dict) else None]
    for code in codes:
        if code in ("content_policy_violation", "content_filter", "ResponsibleAIPolicyViolation"):
            return str(code)
    return None


def data_url(content: bytes) -> str:
    """A picture's file as a `data:` URL; kinds that endpoints do not take become PNG.

    Endpoints clip grey values of 16 bits as Pillow does, so these are among the kinds.
    """
    with open_picture(content) as image:
        kind = _SENT_AS_IS.get(image.format or "")
        if kind is None or is_deep(image) or getattr(image, "is_animated", False):
            buffer = io.BytesIO()
            upright_rgb(image).save(buffer, format="PNG")
            kind, content = "image/png", buffer.getvalue()
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"

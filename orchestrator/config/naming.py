"""Names that a person can read, for settings of a search space."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from orchestrator.config.dimensions import Scalar, Values
from orchestrator.config.sweep import LISTED

SYMBOLS = {
    "optimisation.learning_rate": "lr",
    "optimisation.encoder_learning_rate": "encoder lr",
    "optimisation.batch_size": "batch",
    "alignment.alpha": "α",
    "alignment.beta": "β",
    "alignment.temperature": "τ",
    "data.dataset": "data",
    "data.contexts": "contexts",
    "text.encoder": "text encoder",
    "image.encoder": "image encoder",
}


def describe(values: Values) -> str:
    """A setting in one line, e.g. `lr=1e-4 α=0.2 β=0.4 τ=0.1`.

    A key is shown by its symbol or its last part; by as many parts as it takes to tell it from the
    others. The order is always the same, whatever that of the values. A listed configuration is
    called by its name.
    """
    if LISTED in values:
        return str(values[LISTED])
    return " ".join(f"{name}={shown(values[key])}" for key, name in _in_order(tuple(values)))


@lru_cache(maxsize=256)
def _in_order(keys: tuple[str, ...]) -> list[tuple[str, str]]:
    """Keys with their short names, those with a symbol first."""
    names, known = short_names(keys), list(SYMBOLS)
    ordered = sorted(keys, key=lambda key: (known.index(key) if key in known else len(known), key))
    return [(key, names[key]) for key in ordered]


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """A short name for each of several dotted keys, by which they can be told apart."""
    keys = list(keys)
    names = {}
    for key in keys:
        parts = key.split(".")
        candidates = [".".join(parts[-length:]) for length in range(1, len(parts) + 1)]
        others = [other for other in keys if other != key]
        unique = (
            name for name in candidates if not any(f".{o}".endswith(f".{name}") for o in others)
        )
        names[key] = SYMBOLS.get(key) or next(unique, key)
    return names


def shown(value: Scalar) -> str:
    """A value in as few characters as tell settings of a search apart."""
    if isinstance(value, float):
        # Three digits tell settings of a search apart; the exact value stands in the parameters.
        if value and abs(value) < 1e-3:
            mantissa, _, exponent = f"{value:.2e}".partition("e")
            return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
        mantissa, _, exponent = f"{value:.3g}".partition("e")
        return f"{mantissa}e{int(exponent)}" if exponent else mantissa
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)

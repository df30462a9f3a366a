"""Names and values as MLflow keeps them: its rules hold for any text, and no two become one.

MLflow allows `/`, letters, digits, `_`, `.`, `-`, `:` and blanks in the key of a metric, parameter
or tag, up to 250 characters, and only keys that are a path equal to its own normalised form. What
its rules forbid becomes `_0x<code>_`, the character's code in hexadecimal digits.
"""

from __future__ import annotations

import hashlib
import re

MAX_KEY_LENGTH = 250
CUT = "… (cut)"
_CUT_KEY = "_0xcut_"  # as no character's code reads
_SIGNS = re.compile(r"[^/\w.\- :]|_(?=0x)")
_SLASHES = re.compile(r"\A/|(?<=/)/|/\Z")  # at an end, or after another
_DOTS = re.compile(r"(?:\A|(?<=/))\.(?=\.?(?:/|\Z))|\A\.(?=\.)")  # `.` and `..` between slashes


def key_of(name: str) -> str:
    """The key of a metric, parameter or tag in MLflow, one to one.

    A name that MLflow allows is its own key, unless `_0x` is in it. A key that would be too long
    is cut, and ends in 128 bits of the name's hash.
    """
    key = name
    for forbidden in (_SIGNS, _SLASHES, _DOTS):
        key = forbidden.sub(_code, key)
    if len(key) > MAX_KEY_LENGTH:
        ending = _CUT_KEY + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        return key[: MAX_KEY_LENGTH - len(ending)] + ending
    return key or "_0x_"


def _code(found: re.Match[str]) -> str:
    return f"_0x{ord(found[0]):x}_"


def value_of(text: str, longest: int) -> str:
    """A parameter's or tag's value as MLflow and its databases keep it.

    NUL and halves of characters, which a database refuses, are written as in Python's own text.
    """
    text = text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")
    return text if len(text) <= longest else text[: longest - len(CUT)] + CUT

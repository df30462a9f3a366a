"""The one exception that means: what was handed over is wrong, and this is how to mend it."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input: a message that names the file, line or key and what was expected.

    Command lines print it without a traceback and exit with code 2.
    """

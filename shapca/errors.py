"""What went wrong outside of the code: in what was handed over, or in where it is kept."""

from __future__ import annotations

LONGEST_LINE = 2000


class InputError(ValueError):
    """Bad input: a message that names the file, line or key and what was expected.

    Command lines print it without a traceback and exit with code 2. Whatever a damaged file or an
    odd name puts into it, it can be written anywhere, half a character as its escape, and its
    lines stay readable: of a long one the middle is left out.
    """

    def __init__(self, message: object = "") -> None:
        text = str(message).encode("utf-8", "backslashreplace").decode()
        super().__init__("\n".join(map(_readable, text.split("\n"))))


class StorageError(OSError):
    """A storage cannot be used: it is full, read-only, out of reach or gone. What it holds stays.

    Args:
        number: As of `OSError.errno`.
        reason: In words.
        place: File or folder.
    """

    def __init__(self, number: int | None, reason: str, place: str) -> None:
        super().__init__(number, reason, place)

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


def _readable(line: str) -> str:
    if len(line) <= LONGEST_LINE:
        return line
    return f"{line[: LONGEST_LINE - 500]} … {line[-500:]}"

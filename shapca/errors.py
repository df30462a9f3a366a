"""What went wrong outside of the code: in what was handed over, or in where it is kept."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input: a message that names the file, line or key and what was expected.

    Command lines print it without a traceback and exit with code 2. It can be written anywhere: half
    a character, as a damaged file or an odd file name may hold, stands in it as its escape.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(str(message).encode("utf-8", "backslashreplace").decode())


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

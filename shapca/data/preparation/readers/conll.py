"""Files of one word a line with its tag, in blocks of posts.

A post begins with a header line that holds its id, or follows a blank line where there are no
headers. Lines end in LF or CRLF; the last one may lack its end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shapca.data.formats import Separator
from shapca.data.preparation.readers.source import RawPost, checked_image, numbered_lines, shown
from shapca.data.schema import POS_TAGS
from shapca.errors import InputError

COMMENT = re.compile(r"#\s*([\w.:-]+)\s*=\s*(.*)")
_DOCUMENT = "-DOCSTART-"


@dataclass(frozen=True)
class Layout:
    """How lines are read.

    Attributes:
        header: Word with which a post's header line begins, e.g. `IMGID:`; what follows is the
            post's id and its image's. One that begins with `#` allows comments `# name = value`,
            of which `# image = ID` names the image. `None`: blank lines part posts.
        separator: What stands between columns.
        word_column: Which column is the word, from 1.
        tag_column: Which is the tag; `None`: the last one.
        pos_column: Which is the part of speech; `None`: none is read.
        columns: Names of the columns, where their number is known.
    """

    header: str | None = None
    separator: Separator = "tab"
    word_column: int = 1
    tag_column: int | None = None
    pos_column: int | None = None
    columns: tuple[str, ...] = ()

    def fields(self, line: str) -> list[str]:
        """The columns of a line; no character but tab and blank parts them."""
        if self.separator == "tab":
            return line.split("\t")
        return re.split(r"[\t ]+", line.strip("\t "))

    @property
    def form(self) -> str:
        """As a message shows it."""
        between = "<TAB>" if self.separator == "tab" else " "
        return between.join(self.columns or ("word", "tag"))


def read_posts(file: Path, layout: Layout) -> Iterator[RawPost]:
    """The posts of a file; tags are of any scheme.

    Raises:
        InputError: a line that is not as expected (file:line), or no posts.
    """
    return _Reader(file, layout).posts()


class _Reader:
    def __init__(self, file: Path, layout: Layout) -> None:
        self._file, self._layout = file, layout
        self._num_columns = len(layout.columns) or None
        self._begin()

    def _begin(self, place: str = "", name: str | None = None) -> None:
        self._place, self._id, self._image = place, name, name
        self._rows: list[tuple[str, list[str]]] = []

    def posts(self) -> Iterator[RawPost]:
        header, file = self._layout.header, self._file
        found = False
        for number, line in numbered_lines(file):
            place = f"{file}:{number}"
            if "\r" in line:
                raise InputError(
                    f"{place}: a carriage return inside the line; expected lines that end in LF or "
                    "CRLF, a header line included"
                )
            if header is not None and self._is_header(line, header, place):
                if self._id is not None:
                    yield self._post()
                name = line.removeprefix(header).strip("\t ")
                if not header.startswith("#"):
                    name = checked_image(name, place)
                elif not name or not name.isprintable():
                    raise InputError(f"{place}: {shown(line)} has no id; expected {header} <id>")
                self._begin(place, name)
                found = True
            elif not line or (self._layout.separator == "blank" and not line.strip("\t ")):
                if header is None and self._rows:
                    yield self._post()
                    self._begin()
                    found = True
            elif not self._is_comment(line, place):
                if header is None and not self._rows and self._is_document_line(line):
                    continue
                if header is not None and self._id is None:
                    raise self._before_the_first(place, header)
                fields = self._fields(line, place)
                self._place = self._place or place
                self._rows.append((place, fields))
        if self._id is not None or self._rows:
            yield self._post()
        elif not found:
            expected = (
                "blocks of words" if header is None else f"{header}<id> lines, each with words"
            )
            raise InputError(f"{file}: no posts; expected {expected} below it")

    def _is_header(self, line: str, header: str, place: str) -> bool:
        if not line.startswith(header):
            return False
        if self._layout.separator == "blank":
            return True
        if line.endswith("\t") and "\t" not in line.rstrip("\t"):
            raise InputError(
                f"{place}: the {header} line ends in a tab; expected {header}<id> and nothing else"
            )
        return "\t" not in line

    def _is_document_line(self, line: str) -> bool:
        """CoNLL-2003 begins each document with such a line, which is no post."""
        return self._layout.fields(line)[0] == _DOCUMENT

    def _is_comment(self, line: str, place: str) -> bool:
        header = self._layout.header
        if header is None or not header.startswith("#") or self._rows or "\t" in line:
            return False
        comment = COMMENT.fullmatch(line)
        if comment and comment[1] == "image" and self._id is not None:
            self._image = comment[2] or None
        return comment is not None

    def _fields(self, line: str, place: str) -> list[str]:
        layout, fields = self._layout, self._layout.fields(line)
        if self._num_columns is None and len(fields) > 1:
            self._num_columns = len(fields)
        if self._num_columns is None or (layout.columns and len(fields) != self._num_columns):
            raise InputError(
                f"{place}: {shown(line)} is not of the form {layout.form}{_hint(line, layout)}"
            )
        if len(fields) != self._num_columns:
            raise InputError(
                f"{place}: {shown(line)} has {len(fields)} columns, those above {self._num_columns}"
            )
        columns = {
            "--word-column": layout.word_column,
            "--tag-column": layout.tag_column or len(fields),
            "--pos-column": layout.pos_column,
        }
        used: dict[int, str] = {}
        for option, column in columns.items():
            if column is None:
                continue
            if not 1 <= column <= len(fields):
                raise InputError(
                    f"{place}: no column {column} ({option}); the line has {len(fields)}"
                )
            if (other := used.setdefault(column, option)) != option:
                raise InputError(
                    f"{place}: column {column} is both {other} and {option}; the line has "
                    f"{len(fields)}"
                )
        if layout.pos_column is not None and fields[layout.pos_column - 1] not in POS_TAGS:
            raise InputError(
                f"{place}: part of speech {shown(fields[layout.pos_column - 1])}; expected one of "
                f"{', '.join(POS_TAGS[1:])}"
            )
        if not fields[layout.word_column - 1]:
            raise InputError(f"{place}: {shown(line)} is not of the form {layout.form}: no word")
        return fields

    def _before_the_first(self, place: str, header: str) -> InputError:
        problem = f"{place}: a word before the first {header}<id> line"
        if not any(line.startswith(header) for _, line in numbered_lines(self._file)):
            problem += f"; no line of the file begins with {header!r}"
        return InputError(problem)

    def _post(self) -> RawPost:
        if not self._rows:
            raise InputError(f"{self._place}: a post without words")
        layout = self._layout
        pos = layout.pos_column
        return RawPost(
            place=self._place,
            words=tuple(row[layout.word_column - 1] for _, row in self._rows),
            id=self._id,
            tags=tuple(row[(layout.tag_column or len(row)) - 1] for _, row in self._rows),
            places=tuple(place for place, _ in self._rows),
            pos=() if pos is None else tuple(row[pos - 1] for _, row in self._rows),
            image=None if self._image is None else checked_image(self._image, self._place),
        )


def _hint(line: str, layout: Layout) -> str:
    if layout.columns:
        return ""
    if layout.separator == "tab" and " " in line.strip():
        return " (--separator blank reads columns parted by blanks)"
    if layout.header is None and ":" in line:
        return " (if it begins a post, name its first word with --header)"
    return ""

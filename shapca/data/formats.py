"""Names of the forms in which files of one's own may be."""

from __future__ import annotations

from typing import Literal, get_args

Format = Literal["conll", "jsonl", "datasets"]
"""Tagged words, JSON lines, or tables: parquet and folders of Hugging Face `datasets`."""
FORMATS: tuple[Format, ...] = get_args(Format)
Separator = Literal["tab", "blank"]
Scheme = Literal["iob1", "iob2", "lenient", "bioes", "bilou", "bmes"]
"""Of tags. `lenient`: IOB2 in which an `I-` that continues nothing stays, and begins an entity."""

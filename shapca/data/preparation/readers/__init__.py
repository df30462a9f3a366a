"""Readers of the public benchmark files, by data set name."""

from __future__ import annotations

from shapca.data.preparation.readers import jmere, mnre, twitter
from shapca.data.preparation.readers.source import Reader, SourceData

READERS: dict[str, Reader] = {
    "twitter2015": twitter.read,
    "twitter2017": twitter.read,
    "mnre": mnre.read,
    "jmere": jmere.read,
}

__all__ = ["READERS", "Reader", "SourceData"]

"""Readers of the public benchmark files by data set name, and of files of one's own."""

from __future__ import annotations

from shapca.data.preparation.readers import jmere, mnre, twitter
from shapca.data.preparation.readers.source import Reader, SourceData

READERS: dict[str, Reader] = {
    "twitter2015": twitter.TWITTER,
    "twitter2017": twitter.TWITTER,
    "gmner": twitter.TWITTER,
    "fmnerg": twitter.FMNERG,
    "fmnerg-coarse": twitter.FMNERG_COARSE,
    "cmner": twitter.CMNER,
    "mnre": mnre.read,
    "jmere": jmere.read,
}

__all__ = ["READERS", "Reader", "SourceData"]

"""`shapca predict`: entities and relations of new posts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shapca.commands.extraction import PostOptions
from shapca.commands.options import FinishedRun, examples, with_options_of

EPILOG = examples(
    "shapca predict runs/demo-seed1 --text 'Frida Kahlo lives in Lisbon now'",
    "shapca predict runs/demo-seed1 --input posts.jsonl --out found.jsonl",
)

if TYPE_CHECKING:
    from shapca.config import Precision, RuntimeConfig
    from shapca.prediction import Extractor


@with_options_of(PostOptions)
def predict(run: FinishedRun, **options: Any) -> None:
    """Extract entities, relations or both from a post, or from a file of them."""

    def load(runtime: RuntimeConfig, precision: Precision | None) -> Extractor:
        from shapca.prediction import Extractor

        return Extractor.load(run, precision=precision, runtime=runtime)

    PostOptions(**options).extract(load)

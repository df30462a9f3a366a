"""`orchestrator predict`: entities and relations of new posts, by a registered model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.commands.arguments import Storage, TrackingUri
from orchestrator.commands.models.opening import AnyModel, open_model
from shapca.commands.extraction import PostOptions
from shapca.commands.options import examples, with_options_of

if TYPE_CHECKING:
    from shapca.config import Precision, RuntimeConfig
    from shapca.prediction import Extractor

EPILOG = examples(
    "orchestrator predict models:/demo@champion --text 'Frida Kahlo lives in Lisbon now'",
    "orchestrator predict models:/demo@champion --input posts.jsonl --out found.jsonl",
)


@with_options_of(PostOptions)
def predict(
    model: AnyModel,
    storage: Storage = "storage",
    tracking_uri: TrackingUri = None,
    **options: Any,
) -> None:
    """Find entities, relations or both from posts with a model of MLflow, a sweep or a folder."""

    def load(runtime: RuntimeConfig, precision: Precision | None) -> Extractor:
        return open_model(model, storage, tracking_uri, runtime, precision)

    PostOptions(**options).extract(load)

"""`orchestrator predict`: entities and relations of new posts, by a registered model."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.commands.arguments import Storage, TrackingUri
from shapca.commands.extraction import PostOptions
from shapca.commands.options import examples, with_options_of

EPILOG = examples(
    "orchestrator predict models:/demo@champion --text 'Frida Kahlo lives in Lisbon now'",
    "orchestrator predict models:/demo@champion --input posts.jsonl --out found.jsonl",
)

if TYPE_CHECKING:
    from shapca.config import RuntimeConfig
    from shapca.prediction import Extractor


@with_options_of(PostOptions)
def predict(
    model: Annotated[
        str, typer.Argument(help="models:/NAME@champion (NAME: the sweep), or models:/NAME/VERSION")
    ],
    storage: Storage = "storage",
    tracking_uri: TrackingUri = None,
    **options: Any,
) -> None:
    """Extract entities, relations or both from posts with a model of MLflow's registry."""

    def load(runtime: RuntimeConfig) -> Extractor:
        from orchestrator.store.address import absolute_uri
        from orchestrator.tracking.client.addresses import (
            existing_database,
            parse_model_uri,
            redact,
            resolve_tracking,
        )

        parse_model_uri(model)
        uri = existing_database(resolve_tracking(tracking_uri, absolute_uri(storage)))

        from orchestrator.tracking.client.client import (
            Tracking,
            TrackingRefusedError,
            TrackingUnavailableError,
        )
        from orchestrator.tracking.models.registry import Registry
        from shapca.prediction import Extractor

        with TemporaryDirectory() as folder:
            try:
                run = Registry(Tracking(uri)).download(model, Path(folder))
            except TrackingUnavailableError as error:
                typer.echo(f"error: MLflow at {redact(uri)} does not answer: {error}", err=True)
                raise typer.Exit(1) from None
            except TrackingRefusedError as error:
                typer.echo(f"error: MLflow at {redact(uri)} refuses: {error}", err=True)
                raise typer.Exit(1) from None
            return Extractor.load(run, runtime=runtime)

    PostOptions(**options).extract(load)

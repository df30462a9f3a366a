"""`orchestrator predict`: entities and relations of a new post, by a registered model."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from orchestrator.commands.arguments import Storage, TrackingUri
from shapca.commands.display.extraction import (
    ContextOption,
    DeviceOption,
    EntityOption,
    HeadOption,
    ImageOption,
    JsonOption,
    TailOption,
    TextOption,
    given_entities,
    show_extraction,
)


def predict(
    model: Annotated[
        str, typer.Argument(help="models:/NAME@champion (NAME: the sweep), or models:/NAME/VERSION")
    ],
    text: TextOption,
    image: ImageOption = None,
    context: ContextOption = None,
    entity: EntityOption = None,
    head: HeadOption = None,
    tail: TailOption = None,
    storage: Storage = "storage",
    tracking_uri: TrackingUri = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Extract entities, relations or both from one post with a model of MLflow's registry."""
    from orchestrator.store.address import absolute_uri
    from orchestrator.tracking.client.addresses import (
        check_uri,
        default_tracking_uri,
        existing_database,
        parse_model_uri,
        redact,
    )

    given = given_entities(text, head, tail, entity)
    parse_model_uri(model)
    uri = existing_database(check_uri(tracking_uri or default_tracking_uri(absolute_uri(storage))))

    from orchestrator.tracking.client.client import TrackingUnavailableError
    from orchestrator.tracking.models.registry import download_run
    from shapca.config import RuntimeConfig
    from shapca.prediction import Extractor

    with TemporaryDirectory() as folder:
        try:
            run = download_run(model, uri, Path(folder))
        except TrackingUnavailableError as error:
            typer.echo(f"error: MLflow at {redact(uri)} does not answer: {error}", err=True)
            raise typer.Exit(1) from None
        extractor = Extractor.load(run, runtime=RuntimeConfig(device=device))
    show_extraction(
        extractor.extract(text, image=image, context=context, entities=given), as_json=as_json
    )

"""`shapca predict`: entities and relations of a new post."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    text: TextOption,
    image: ImageOption = None,
    context: ContextOption = None,
    entity: EntityOption = None,
    head: HeadOption = None,
    tail: TailOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Extract entities, relations or both from one post."""
    given = given_entities(text, head, tail, entity)

    from shapca.commands.display.messages import shown_messages
    from shapca.config import RuntimeConfig
    from shapca.prediction import Extractor

    with shown_messages():
        extractor = Extractor.load(run, runtime=RuntimeConfig(device=device))
        extraction = extractor.extract(text, image=image, context=context, entities=given)
    show_extraction(extraction, as_json=as_json)

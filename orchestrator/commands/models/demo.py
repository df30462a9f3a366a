"""`orchestrator demo`: a page on loopback that shows what a model finds."""

from __future__ import annotations

import signal
import webbrowser

import typer

from orchestrator.commands.arguments import Storage, TrackingUri
from orchestrator.commands.models.opening import AnyModel, open_model
from orchestrator.commands.ui import Browser, Port, free_port, has_screen
from shapca.commands.display.messages import shown_messages
from shapca.commands.options import Device, examples
from shapca.config import RuntimeConfig

EPILOG = examples("orchestrator demo demo", "orchestrator demo runs/first --port 5001")


def demo(
    model: AnyModel,
    storage: Storage = "storage",
    tracking_uri: TrackingUri = None,
    port: Port = None,
    browser: Browser = True,
    device: Device = "auto",
) -> None:
    """Serve a page on 127.0.0.1 that shows what a model finds in a post, until Ctrl-C."""
    chosen = free_port(port)
    from orchestrator.commands.models.page import Page

    with shown_messages():
        extractor = open_model(model, storage, tracking_uri, RuntimeConfig(device=device))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Page(extractor, model, chosen) as page:
        typer.echo(f"{model}: {page.address} (Ctrl-C stops it)")
        if browser and has_screen():
            webbrowser.open(page.address)
        try:
            page.serve_forever()
        except KeyboardInterrupt:
            typer.echo("stopped")

"""`corom serve`: the HTTP service and the page."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from corom.cli import flags
from corom.cli.console import note, say
from corom.cli.loading import load_encoder, load_second_pass
from corom.errors import InputError
from corom.models import EMBEDDED


def command(
    host: Annotated[
        str, typer.Option("--host", help="Other than this machine's own: needs --keys.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="0 takes a free one.")] = 8000,
    index: Annotated[
        Path | None,
        typer.Option(
            "--index",
            "-i",
            help="A folder that corom index made, opened again when it has changed; default, with "
            "the embedded model: the medical passages inside the package.",
        ),
    ] = None,
    words: Annotated[
        Path | None,
        typer.Option("--words", help="An index of words over the same passages, besides."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Default: what the index says, else corom-medical."),
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--name",
            help="What clients call the model, instead of its folder's name; again for others "
            "that are accepted.",
        ),
    ] = None,
    rerank: flags.Rerank = None,
    rerank_depth: flags.RerankDepth = None,
    rerank_share: flags.RerankShare = None,
    keys: Annotated[
        Path | None, typer.Option("--keys", help="The file of API keys; reread when it changes.")
    ] = None,
    new_key: Annotated[
        str | None,
        typer.Option("--new-key", metavar="NAME", help="Add a key to --keys, show it and stop."),
    ] = None,
    engine: flags.Engine = "auto",
    precision: flags.Precision = "auto",
    device: flags.Device = "auto",
    max_length: flags.Length = None,
    threads: flags.Threads = None,
    timeout: Annotated[
        float, typer.Option("--timeout", help="Seconds a request may take, waiting included.")
    ] = 30.0,
    max_wait: Annotated[
        float,
        typer.Option("--max-wait", help="Seconds a request may wait until the model begins."),
    ] = 3.0,
    max_requests: Annotated[
        int, typer.Option("--max-requests", help="At once; further ones are told to come back.")
    ] = 256,
) -> None:
    """Serve embeddings, similarity and search over HTTP.

    With a page to try them. The log on standard error has a line for each request: route, status,
    time, numbers; no texts.
    """
    from corom.extras import need

    for module in ("fastapi", "uvicorn", "prometheus_client"):
        need(module, extra="serve")
    from corom.search import require_same
    from corom.serving.collection import bundled_collection
    from corom.serving.folders import Folders
    from corom.serving.keys import add_key
    from corom.serving.server import Server
    from corom.serving.service import Service
    from corom.serving.settings import ServeSettings

    if new_key is not None:
        if keys is None:
            raise InputError("--new-key adds to a file: name it with --keys FILE")
        say(add_key(keys, new_key))
        note(f"This key is shown once; {keys} holds its hash only.")
        return
    settings = ServeSettings(
        host=host,
        port=port,
        names=tuple(names or ()),
        keys_file=keys,
        timeout_s=timeout,
        max_wait_s=max_wait,
        max_requests=max_requests,
    )
    on: dict[str, Any] = {
        "engine": engine,
        "precision": precision,
        "device": device,
        "threads": threads,
    }
    folders = Folders(index, words) if index or words else None
    collection = None if folders is None else folders.open()
    vectors = None if collection is None else collection.vectors
    name = model or (EMBEDDED if vectors is None else vectors.spec.model)
    encoder = load_encoder(name, max_length=max_length, **on)
    if vectors is not None:
        require_same(vectors, encoder)
    second = load_second_pass(rerank, depth=rerank_depth, share=rerank_share, **on)
    if collection is None and encoder.name == EMBEDDED:
        collection = bundled_collection(encoder)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    service = Service(
        encoder,
        collection=collection,
        folders=folders,
        second=second,
        card=_card(encoder.folder),
        settings=settings,
    )
    Server(service).run()


def _card(folder: Path) -> str | None:
    """Return the README.md of a model's folder, if there is one."""
    path = folder / "README.md"
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None

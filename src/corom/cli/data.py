"""Data sets: `corom data get NAME` fetches a public one, `corom data check PATH` reads any."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from corom.cli.console import download_bar, note, say, say_json
from corom.cli.options import JsonOption

app = typer.Typer(
    help="Fetch public data sets; see whether a data set is whole.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("get")
def get(
    name: Annotated[str, typer.Argument(metavar="NAME", help="multi-cpr-medical or cmedqa2.")],
    to: Annotated[
        Path | None, typer.Option("--to", help="The folder; default: NAME, here.")
    ] = None,
    mirror: Annotated[
        str | None, typer.Option("--mirror", help="An address that holds the same files.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch a public data set from its authors.

    Checksums and counts are checked; what is there already is kept, what was interrupted resumed.
    """
    from corom.readers.download import PUBLISHED, download_dataset

    with download_bar() as show:
        dataset = download_dataset(name, to or Path(name), base_url=mirror, progress=show)
    if as_json:
        say_json({"folder": str(dataset.path), "splits": dataset.splits})
        return
    note(f"terms of use: {PUBLISHED[name].terms}")
    say(dataset.describe())


@app.command("check")
def check(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The folder of a data set.")],
    as_json: JsonOption = False,
) -> None:
    """Say what a data set is and whether it is whole.

    Everything is read once. Exit code 1: records are broken, or judgements name what is not there.
    """
    from corom.readers import SkipReport, open_dataset

    skips = SkipReport()
    dataset = open_dataset(path, skips=skips)
    found, checksum = dataset.check(), dataset.checksum()
    if as_json:
        say_json(
            {
                "name": dataset.name,
                "format": dataset.format,
                "checksum": checksum,
                "passages": found.passages,
                "splits": {name: split._asdict() for name, split in found.splits.items()},
                "stray_queries": found.stray_queries,
                "broken": dict(skips.counts),
            }
        )
    else:
        say(f"{dataset.describe()}\n{found.describe()}\nchecksum: {checksum}")
        if skips.total:
            note(skips.describe())
    lost = sum(
        each.qrels_without_query + each.qrels_without_passage for each in found.splits.values()
    )
    if skips.total or lost:
        raise typer.Exit(1)

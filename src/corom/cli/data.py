"""Data sets: `get` fetches a public one, `check` reads any, `sample` and `holdout` take parts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from corom.cli import flags
from corom.cli.console import note, reasons, say, say_json
from corom.cli.progress import download_bar
from corom.cli.runs import changes

app = typer.Typer(
    help="Fetch and check data sets; take parts of training data.",
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
    as_json: flags.Json = False,
) -> None:
    """Fetch a public data set from its authors.

    Checksums and counts are checked; what is there already is kept, what was interrupted resumed.
    """
    from corom.readers.download import PUBLISHED, download_dataset

    with download_bar() as show:
        dataset = download_dataset(name, to or Path(name), base_url=mirror, progress=show)
    if as_json:
        say_json({"folder": dataset.path, "splits": dataset.splits})
        return
    note(f"terms of use: {PUBLISHED[name].terms}")
    say(dataset.describe())


@app.command("check")
def check(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The folder of a data set.")],
    as_json: flags.Json = False,
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


@app.command("sample")
def sample(
    settings: flags.Settings = None,
    data: flags.Records = None,
    output: flags.RecordsFolder = None,
    set_: flags.Changes = None,
    as_json: flags.Json = False,
) -> None:
    """Take a part of training data: a share of each source.

    For example --set 'weights={"kg_*"=0.25,"*"=1.0}': a quarter of the records whose source is
    called so, all others whole. Order is kept; the same command takes the same records. Pairs
    labelled as no match are refused, or left out with --set bad_rows=skip.
    """
    from corom.files import read_json
    from corom.training import sample
    from corom.training.mining_settings import SampleSettings
    from corom.training.provenance import REPORT
    from corom.training.settings import load_settings

    asked = changes(set_, data=data, output=output)
    chosen = load_settings(SampleSettings, settings, changes=asked)
    files = sample(chosen)
    counts = read_json(Path(chosen.output) / REPORT)["report"]
    if as_json:
        say_json({"files": files, **counts})
        return
    note(f"{counts['kept']:,} of {counts['records']:,} records")
    if left_out := counts["left out"]:
        note(f"left out: {reasons(left_out)}")
    say("\n".join(map(str, files)))


@app.command("holdout")
def holdout(
    settings: flags.Settings = None,
    data: flags.Records = None,
    output: flags.RecordsFolder = None,
    queries: Annotated[
        int | None, typer.Option("--queries", help="Of the dev set, at most; default 500.")
    ] = None,
    set_: flags.Changes = None,
    as_json: flags.Json = False,
) -> None:
    """Make a dev set of one's own training data.

    Some queries and their answers are held back. The folder holds dev, a data set for corom
    evaluate and for [dev] of corom train, and train, the other records. What shares a query or an
    answer stays together; the same command holds back the same records.
    """
    from corom.training import hold_out
    from corom.training.mining_settings import HoldoutSettings
    from corom.training.settings import load_settings

    asked = changes(set_, data=data, output=output, queries=queries)
    made = hold_out(load_settings(HoldoutSettings, settings, changes=asked))
    if as_json:
        say_json({"dev": made.dev, "train": made.train, **made.counts})
        return
    for what, count in made.counts.items():
        note(f"{what}: {count:,}")
    say("\n".join(map(str, (made.dev, *made.train))))

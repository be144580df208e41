"""`corom cluster`: texts that mean much the same, in groups."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from corom.checks import require_whole
from corom.cli import flags
from corom.cli.console import check_table, counted, in_one_line, is_sheet, note, say, say_json
from corom.cli.loading import load_encoder
from corom.cli.progress import progress_bar
from corom.cli.texts import Texts
from corom.errors import InputError
from corom.extras import need

if TYPE_CHECKING:
    from corom.clustering import Cluster
    from corom.records import Passage

_EXAMPLES, _WIDTH = 3, 60


def command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="Texts in a .jsonl, .csv, .xlsx, .tsv or .txt file, or - (a text a line).",
        ),
    ],
    clusters: Annotated[
        int | None, typer.Option("--clusters", "-n", help="So many groups, by k-means.")
    ] = None,
    density: Annotated[
        bool, typer.Option("--density", help="As many groups as there are, by HDBSCAN.")
    ] = False,
    least: Annotated[
        int | None,
        typer.Option("--least", help="With --density: the least size of a group; default 5."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="With --clusters: of k-means; default 0.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="A .tsv of id and group (-1: in none), or a .csv for Excel: every text in order, "
            "with its group and that group's telling words.",
        ),
    ] = None,
    text: flags.Text = None,
    id_: flags.Id = None,
    title: flags.Title = None,
    encoding: flags.Encoding = "utf-8",
    no_header: flags.NoHeader = False,
    skip_bad: flags.SkipBad = False,
    model: flags.Model = "corom-medical",
    precision: flags.Precision = "auto",
    device: flags.Device = "auto",
    max_length: flags.Length = None,
    as_json: flags.Json = False,
) -> None:
    """Group texts by meaning.

    Reports each group's size, its most typical texts and its telling words (extra cluster).
    """
    from corom.clustering import NOISE, cluster_density, cluster_kmeans, describe_clusters
    from corom.readers import Layout

    if (clusters is None) == (not density):
        raise InputError("choose --clusters NUMBER or --density (one of the two)")
    if (least if clusters is not None else seed) is not None:
        raise InputError("--least belongs to --density, --seed to --clusters")
    least, seed = 5 if least is None else least, seed or 0
    # All of this before the long work, not after it.
    require_whole("--least", least, low=2)
    require_whole("--seed", seed, low=0)
    need("sklearn", extra="cluster")
    if out is not None:
        check_table(out, source)
    layout = Layout(text=text, id=id_, title=title, encoding=encoding, header=not no_header)
    passages = list(Texts(source, layout, skip_bad=skip_bad).passages())
    texts = [passage.content for passage in passages]
    if clusters is not None and not 1 <= clusters <= len(texts):
        raise InputError(f"{counted(len(texts), 'text')} cannot make {clusters} groups")
    encoder = load_encoder(model, precision=precision, device=device, max_length=max_length)
    with progress_bar(len(texts)) as meter:
        vectors = encoder.encode_passages(texts, progress=meter)
    if clusters is None:
        labels = cluster_density(vectors, least=least)
    else:
        labels = cluster_kmeans(vectors, clusters, seed=seed)
    found = describe_clusters(labels, vectors, texts)
    if out is not None:
        write = _write_sheet if is_sheet(out) else _write_labels
        write(out, passages, labels.tolist(), found)
    if alone := int((labels == NOISE).sum()):
        note(
            f"{alone:,} of {len(texts):,} texts are in no group; how many make one is up to "
            f"--least, which is {least}"
        )
    if as_json:
        say_json([_record(cluster, passages) for cluster in found])
    else:
        _report(found, passages)


def _write_sheet(
    out: Path, passages: list[Passage], labels: list[int], clusters: list[Cluster]
) -> None:
    from corom.readers.writing import write_sheet

    words = {number: " ".join(cluster.keywords) for number, cluster in enumerate(clusters)}
    header = ["id", "text", "group", "label"]
    rows: list[list[str | int]] = [
        [passage.id, passage.text, label, words.get(label, "")]
        for passage, label in zip(passages, labels, strict=True)
    ]
    if any(passage.title for passage in passages):
        header.insert(1, "title")
        for row, passage in zip(rows, passages, strict=True):
            row.insert(1, passage.title)
    write_sheet(out, header, rows)


def _write_labels(out: Path, passages: list[Passage], labels: list[int], _: list[Cluster]) -> None:
    from corom.readers.writing import table_cell, write_lines

    pairs = zip(passages, labels, strict=True)
    write_lines(out, (f"{table_cell(passage.id)}\t{label}" for passage, label in pairs))


def _record(cluster: Cluster, passages: list[Passage]) -> dict[str, object]:
    return {
        "size": len(cluster.rows),
        "cohesion": cluster.cohesion,
        "keywords": cluster.keywords,
        "medoid": passages[cluster.rows[0]].content,
        "ids": [passages[row].id for row in cluster.rows],
    }


def _report(clusters: list[Cluster], passages: list[Passage]) -> None:
    inside = sum(len(cluster.rows) for cluster in clusters)
    groups, texts = counted(len(clusters), "group"), counted(len(passages), "text")
    say(f"{groups} of {texts}; {len(passages) - inside:,} in none")
    for number, cluster in enumerate(clusters):
        size = len(cluster.rows)
        share = f"{size / len(passages):.0%}"
        say(f"\n{number}: {counted(size, 'text')} ({share}), cohesion {cluster.cohesion:.2f}")
        say(f"   {' '.join(cluster.keywords)}")
        for row in cluster.rows[:_EXAMPLES]:
            text = in_one_line(passages[row].content)
            shown = text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"
            say(f"   [{passages[row].id}] {shown}")

"""The work of `corom index`: build an index, make it follow its corpus, fill it from shards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from corom.cli.console import counted, note, say, say_json
from corom.cli.progress import Meter, progress_bar
from corom.errors import InputError

if TYPE_CHECKING:
    from corom.encoder import Encoder
    from corom.index.spec import IndexSpec, Options, VectorType
    from corom.records import Passage
    from corom.splitting import Splitter


class IndexJob(NamedTuple):
    """What becomes an index, where and how."""

    to: str
    spec: IndexSpec
    read: Callable[[], Iterator[Passage]]
    encoder: Encoder | None
    splitter: Splitter | None
    as_json: bool

    def build(self) -> None:
        """Make the index, or go on where a killed command stopped, and say what it holds."""
        from corom.corpus import CorpusChecksum
        from corom.index.building import fill
        from corom.stores import open_any_writer

        corpus = CorpusChecksum(self.read())
        spec = replace(self.spec, source=corpus.hexdigest())
        with progress_bar(corpus.passages) as meter, open_any_writer(self.to, spec) as writer:
            size = fill(
                writer, self.read(), encoder=self.encoder, splitter=self.splitter, progress=meter
            )
        self._note(meter)
        _tell(self.to, spec, size, as_json=self.as_json, figures=meter.figures())

    def is_finished(self) -> bool:
        """Whether the index is there and whole; InputError for one that cannot be updated."""
        from corom.files import MANIFEST
        from corom.index.folder import read_manifest
        from corom.stores import is_uri

        if is_uri(self.to):
            raise InputError("--update is for an index in a folder; load a server's anew")
        folder = Path(self.to)
        return (folder / MANIFEST).is_file() and read_manifest(folder).complete

    def update(self, *, erase: bool) -> None:
        """Make the index what the corpus is now, and say what changed."""
        from corom.index.updating import update_index

        with progress_bar(None) as meter:
            change = update_index(
                self.to,
                self.read,
                spec=self.spec,
                encoder=self.encoder,
                splitter=self.splitter,
                erase=erase,
                expect=lambda parts: meter.expect(parts, done=0),
                progress=meter,
            )
        self._note(meter)
        if self.as_json:
            seconds = meter.figures()["seconds"]
            say_json({"index": self.to, **change._asdict(), "seconds": seconds})
        else:
            say(
                f"{self.to}: {change.added:,} added, {change.changed:,} changed, "
                f"{change.removed:,} removed, {change.kept:,} as they were"
            )

    def _note(self, meter: Meter) -> None:
        """Say for people how the encoding went, if there was one."""
        if self.encoder is not None and meter.texts and not self.as_json:
            note(meter.sentence(max_length=self.encoder.max_length))


def index_shards(
    folder: Path, to: str, options: Options, *, store: VectorType, as_json: bool
) -> None:
    """Make an index of vectors that are there already, and say what it holds."""
    from corom.sharding import open_shards
    from corom.stores import load_shards, open_any_writer
    from corom.stores.loading import spec_of_shards

    shards = open_shards(folder)
    spec = spec_of_shards(shards, options, vector_type=store)
    with progress_bar(len(shards)) as meter, open_any_writer(to, spec) as writer:
        size = load_shards(writer, shards, progress=meter.count)
    _tell(to, spec, size, as_json=as_json, figures={"seconds": meter.figures()["seconds"]})


def _tell(to: str, spec: IndexSpec, size: int, *, as_json: bool, figures: dict[str, float]) -> None:
    from corom.stores import is_uri, parse_uri

    place = parse_uri(to).shown if is_uri(to) else to
    kind = spec.options.kind
    if as_json:
        say_json({"index": place, "passages": size, "kind": kind, **figures})
    else:
        what = counted(size, "part" if spec.part_tokens else "passage")
        cut = f" of at most {spec.part_tokens} tokens" if spec.part_tokens else ""
        say(f"{place}: {what}{cut}, {kind}, {spec.model}")

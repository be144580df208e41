"""A run of the encode benchmark: its options, and everything made before the clock starts."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path

from bench import BASE, DATA, ROOT, command_line, say
from corom.models.checkpoint import Checkpoint
from encode_backends import BACKENDS, REFERENCE, Backend, backend
from encode_client import BackendError, Worker
from encode_report import Once, Round, Work, needed_operations
from encode_setup import (
    SetUp,
    Texts,
    base_model,
    embedded_model,
    sample_texts,
    set_up,
)
from random_models import large_model


def parse(doc: str) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = command_line(doc)
    add = parser.add_argument
    add("--rounds", type=int, default=5)
    add("--minutes", type=float, default=60, help="no round begins later than this")
    add("--passages", type=int, default=192)
    add("--queries", type=int, default=384)
    add("--layers", type=int, default=12)
    add("--cold", type=int, default=3, help="cold starts of each back end")
    add("--threads", type=int, default=2)
    add("--seed", type=int, default=0)
    add("--backends", nargs="+", metavar="NAME", help="only these (and the reference)")
    add("--quick", action="store_true", help="2 rounds, 32 passages, 64 queries, 1 cold start")
    add("--data", type=Path, default=DATA, help="a data set folder")
    add("--base", type=Path, default=BASE, help="4-layer weights")
    add("--work", type=Path, default=ROOT / ".bench", help="models and forms are kept here")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.passages, options.queries, options.cold = 2, 32, 64, 1
    for name in options.backends or []:
        backend(name)
    if options.backends and REFERENCE not in options.backends:
        options.backends.append(REFERENCE)
    options.work = options.work.resolve()
    kept = options.work / "encode-quick.json" if options.quick else ROOT / "results/encode.json"
    options.json = options.json or kept
    return options


@dataclass
class Bench:
    """The state of one benchmark run."""

    options: argparse.Namespace
    texts: Texts
    checkpoints: dict[str, Checkpoint]
    ready: dict[str, SetUp] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    """why a back end is not in the table, or lacks rounds"""
    once: dict[str, Once] = field(default_factory=dict)
    rounds: list[Round] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """The back ends that are ready, in table order."""
        return [spec.name for spec in BACKENDS if spec.name in self.ready]

    def start(self, name: str) -> Worker:
        """Return a new process of a back end."""
        log = self.options.work / "logs" / f"{name}.log"
        return Worker(backend(name), self.ready[name].model, threads=self.options.threads, log=log)

    def drop(self, name: str, error: BackendError) -> None:
        """Say and keep why a back end failed; it stays in the table with the rounds it has."""
        self.failed[name] = str(error)
        if not any(name in done.timings for done in self.rounds):
            self.ready.pop(name, None)
        say(f"{name} failed: {error}")

    def work(self) -> dict[str, tuple[Work, Work]]:
        """Return what passages and queries take on each back end's model."""
        found = {}
        for name in self.names:
            shape = self.checkpoints[backend(name).model].shape
            passages, queries = (
                Work(sum(lengths), needed_operations(shape, lengths))
                for lengths in (self.texts.passage_tokens, self.texts.query_tokens)
            )
            found[name] = (passages, queries)
        return found


def prepare(options: argparse.Namespace) -> Bench:
    """Return a run with texts, models and the forms of them that back ends need."""
    (options.work / "logs").mkdir(parents=True, exist_ok=True)
    large = large_model(
        options.work, layers=options.layers, seed=options.seed, tokenizer_from=options.base
    )
    texts = sample_texts(
        options.data, large, passages=options.passages, queries=options.queries, seed=options.seed
    )
    base = base_model(options.work / f"base-{options.base.name}", source=options.base)
    bench = Bench(options, texts, {"large": large, "base": base})
    for spec in BACKENDS:
        if options.backends and spec.name not in options.backends:
            continue
        _prepare_one(bench, spec)
    return bench


def _prepare_one(bench: Bench, spec: Backend) -> None:
    try:
        if spec.model == "embedded":
            bench.checkpoints["embedded"] = embedded_model()
        checkpoint, options = bench.checkpoints[spec.model], bench.options
        found = set_up(spec, checkpoint, work=options.work, threads=options.threads)
    except BackendError as error:
        bench.drop(spec.name, error)
        return
    bench.ready[spec.name] = found
    if found.seconds is not None:
        say(f"{spec.name}: its form of the model took {found.seconds:.0f} s to make")
    if found.note:
        say(f"{spec.name}: {found.note}")

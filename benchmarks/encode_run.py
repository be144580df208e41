"""A run of the encode benchmark: what it works on, and everything made before the clock starts."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field

from bench import say
from corom.models.checkpoint import Checkpoint
from encode_backends import BACKENDS, Backend, backend
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

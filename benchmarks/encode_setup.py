"""What the encode benchmark works on: texts, a random 12-layer model, the peers' forms of it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from corom.engines.compression import bundled_texts
from corom.engines.loading import cached_int8
from corom.engines.processor import has_bf16
from corom.errors import CoromError
from corom.files import check_manifest
from corom.models import EMBEDDED
from corom.models.checkpoint import Checkpoint, load_checkpoint
from corom.models.config import Encoding
from corom.models.int8 import read_fidelity
from corom.models.names import open_model
from corom.models.portable import Portable, write_portable
from corom.models.weights import INT8
from corom.readers import open_dataset
from corom.tokens import TokenCutter
from encode_backends import MAX_LENGTH, Backend
from encode_client import LIMIT, BackendError, Worker, last_line

PEERS = Path(__file__).with_name("encode_peers.py")


class Texts(NamedTuple):
    """What is encoded, with the tokens each text takes part with ([CLS] and [SEP] included)."""

    passages: list[str]
    queries: list[str]
    passage_tokens: list[int]
    query_tokens: list[int]


def sample_texts(
    data: Path, checkpoint: Checkpoint, *, passages: int, queries: int, seed: int
) -> Texts:
    """Return a random sample of a data set's passages and of the queries of all its splits."""
    rng, dataset = np.random.default_rng(seed), open_dataset(data)
    corpus = [passage.text for passage in dataset.passages()]
    asked = [query.text for split in dataset.splits for query in dataset.queries(split)]
    chosen = [corpus[i] for i in rng.choice(len(corpus), passages, replace=False)]
    questions = [asked[i] for i in rng.choice(len(asked), queries, replace=False)]
    cutter = TokenCutter(checkpoint.tokenizer_json, max_length=MAX_LENGTH)
    return Texts(chosen, questions, cutter.count(chosen), cutter.count(questions))


def base_model(folder: Path, *, source: Path) -> Checkpoint:
    """Return `source` as a portable folder: [CLS], normalised, at most 128 tokens."""
    if not folder.exists():
        found = load_checkpoint(source)
        encoding = Encoding(normalize=True, max_length=MAX_LENGTH)
        model = Portable(found.shape, encoding, found.load_weights(), found.tokenizer_json)
        write_portable(folder, model)
    return load_checkpoint(folder)


def embedded_model() -> Checkpoint:
    """Return the model inside the package; BackendError when this version has none."""
    try:
        return open_model(EMBEDDED)
    except CoromError as error:
        raise BackendError(str(error)) from None


class SetUp(NamedTuple):
    """What was done to make a back end's model ready."""

    model: str
    """what its worker is told to load"""
    seconds: float | None = None
    """to make the form it needs; None: it was there, or needs none"""
    note: str = ""


def set_up(spec: Backend, checkpoint: Checkpoint, *, work: Path, threads: int) -> SetUp:
    """Return what a back end's worker loads, making the form it needs; BackendError if it cannot.

    A peer's form is made by encode_peers.py in a process of its own, corom's int8 form by
    loading the model with it, as a user would.
    """
    folder = checkpoint.folder
    if spec.model == "embedded":
        return SetUp(EMBEDDED)
    if spec.form:
        target = work / "peers" / folder.name / spec.form
        if target.exists():
            return SetUp(str(target))
        return SetUp(str(target), _make_form(spec.form, folder, target=target, work=work))
    if spec.library == "corom" and spec.precision == "bf16" and not has_bf16():
        # On an Intel Xeon without AMX it took 30 times as long as fp32, which auto takes there.
        raise BackendError("this chip does not multiply bfloat16 faster than float32")
    if spec.precision != "int8":
        return SetUp(str(folder))
    made = cached_int8(checkpoint)
    seconds = None if made.exists() else _first_load(spec, folder, work=work, threads=threads)
    try:
        check_manifest(made)
        fidelity = read_fidelity(made / INT8)
    except CoromError as error:
        raise BackendError(str(error)) from None
    return SetUp(str(folder), seconds, fidelity.advice() if fidelity else "")


def _make_form(form: str, model: Path, *, target: Path, work: Path) -> float:
    calibration = work / "calibration.json"
    calibration.write_text(json.dumps(bundled_texts()[0], ensure_ascii=False), encoding="utf-8")
    target.parent.mkdir(parents=True, exist_ok=True)
    log = work / "logs" / f"make-{form}.log"
    command = [sys.executable, str(PEERS), form, str(model), str(target)]
    start = time.perf_counter()
    with log.open("w", encoding="utf-8") as output:
        try:
            subprocess.run(
                [*command, "--calibration", str(calibration)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=LIMIT,
                check=True,
            )
        except subprocess.SubprocessError as error:
            raise BackendError(
                f"{form} could not be made ({type(error).__name__}): {last_line(log)}"
            ) from None
    return time.perf_counter() - start


def _first_load(spec: Backend, folder: Path, *, work: Path, threads: int) -> float:
    worker = Worker(
        spec, str(folder), threads=threads, log=work / "logs" / f"first-{spec.name}.log"
    )
    try:
        return float(worker.load()["seconds"])
    finally:
        worker.close()

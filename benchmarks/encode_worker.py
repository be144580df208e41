"""One back end of the encode benchmark in a process of its own: JSON lines in, JSON lines out.

    encode_worker.py --backend corom-int8 --model DIR --threads 2

| request | answer |
|---|---|
| `{"do": "load"}` | `{"seconds": 0.4, "precision": "int8"}` |
| `{"do": "encode", "side": "passage", "texts": [...]}` | `{"seconds": 1.2}` |
| `{"do": "each", "side": "query", "texts": [...]}` | `{"seconds": [...]}`, one text at a time |
| `{"do": "vectors", "side": ..., "texts": [...], "path": ...}` | `{"seconds": 1.2}`, npy written |

What a back end raises comes back as `{"error": "..."}`. The clock runs around the library's own
call only. Before `load` nothing heavy is imported, so that a cold start can be timed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from encode_backends import MAX_LENGTH, Backend, backend, without_telemetry

BATCH = 32  # sentence-transformers' default, and what fastembed is fastest with here


class Loaded(NamedTuple):
    """A model in memory."""

    encode: Callable[[list[str], str], Any]
    """(texts, "query" or "passage") -> (n, dim) array"""
    precision: str


def load(spec: Backend, folder: str, *, threads: int) -> Loaded:
    """Return the back end's model, limited to `threads` threads."""
    if spec.library == "corom":
        return _corom(spec, folder, threads)
    if spec.library == "fastembed":
        return _fastembed(spec, folder, threads)
    return _sentence_transformers(spec, folder, threads)


def _corom(spec: Backend, folder: str, threads: int) -> Loaded:
    from corom.encoder import Encoder

    if spec.engine == "torch":
        import torch

        torch.set_num_threads(threads)
    encoder = Encoder.load(
        folder,
        engine=spec.engine,
        precision="auto" if spec.model == "embedded" else spec.precision,
        threads=threads,
        max_length=MAX_LENGTH,
    )

    def encode(texts: list[str], side: str) -> Any:  # noqa: ANN401
        sides = {"query": encoder.encode_queries, "passage": encoder.encode_passages}
        return sides[side](texts)

    return Loaded(encode, encoder.precision)


def _sentence_transformers(spec: Backend, folder: str, threads: int) -> Loaded:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    options: dict[str, Any] = {}
    if spec.engine == "onnx":
        from onnxruntime import SessionOptions

        session = SessionOptions()
        session.intra_op_num_threads = threads
        options = {"provider": "CPUExecutionProvider", "session_options": session}
    elif spec.engine == "openvino":
        without_telemetry()
        options = {"ov_config": {"INFERENCE_NUM_THREADS": str(threads)}}
    model = SentenceTransformer(folder, backend=spec.engine, device="cpu", model_kwargs=options)
    model.max_seq_length = MAX_LENGTH

    def encode(texts: list[str], _side: str) -> Any:  # noqa: ANN401
        return model.encode(texts, batch_size=BATCH, show_progress_bar=False)

    return Loaded(encode, spec.precision)


def _fastembed(spec: Backend, folder: str, threads: int) -> Loaded:
    import numpy as np
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    name = "corom/benchmark"
    hidden = json.loads(Path(folder, "config.json").read_text("utf-8"))["hidden_size"]
    TextEmbedding.add_custom_model(
        name,
        pooling=PoolingType.CLS,
        normalization=False,
        sources=ModelSource(hf=name),
        dim=hidden,
        model_file="onnx/model.onnx",
    )
    model = TextEmbedding(name, specific_model_path=folder, threads=threads)

    def encode(texts: list[str], _side: str) -> Any:  # noqa: ANN401
        return np.stack(list(model.embed(texts, batch_size=BATCH)))

    return Loaded(encode, spec.precision)


def answer(request: dict[str, Any], model: Loaded) -> dict[str, Any]:
    """Return what a request other than `load` asks for."""
    do, texts, side = request["do"], request["texts"], request["side"]
    if do == "each":
        return {"seconds": [_timed(model, [text], side)[0] for text in texts]}
    seconds, vectors = _timed(model, texts, side)
    if do == "vectors":
        import numpy as np

        np.save(request["path"], np.asarray(vectors, np.float32), allow_pickle=False)
    return {"seconds": seconds}


def _timed(model: Loaded, texts: list[str], side: str) -> tuple[float, Any]:
    start = time.perf_counter()
    vectors = model.encode(texts, side)
    return time.perf_counter() - start, vectors


def main() -> None:
    """Answer requests until the input ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", type=backend, required=True)
    parser.add_argument("--model", required=True, help="a model folder or a name corom knows")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    # Libraries may print: they get the log, the driver the real standard output.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    model: Loaded | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "load":
                start = time.perf_counter()
                model = load(options.backend, options.model, threads=options.threads)
                seconds = time.perf_counter() - start
                found: dict[str, Any] = {"seconds": seconds, "precision": model.precision}
            elif model is None:
                found = {"error": "nothing is loaded"}
            else:
                found = answer(request, model)
        except Exception as error:  # noqa: BLE001 - whatever a peer raises is its result
            found = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(found) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()

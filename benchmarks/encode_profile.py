"""Where the time goes when the embedded model encodes a corpus, and how much it must multiply.

    python benchmarks/encode_profile.py          (in an environment with corom)

Shares, not speeds: OpenVINO's own profile of a sample's batches on one thread, by kind of
operation; processor time of cutting texts into tokens beside that of computing; padding. The
operations that the vectors need are counted over the whole corpus (encode_report.py).
"""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from bench import DATA, command_line, describe
from corom import Encoder
from corom.encoder import CHUNK
from corom.engines.quiet_openvino import ov
from corom.files import write_json
from corom.models.checkpoint import load_checkpoint
from corom.readers import open_dataset
from corom.tokens import Batch, batches
from encode_report import needed_operations

SAMPLE, PROFILED = 2048, 60


def kinds(encoder: Encoder, some: list[Batch]) -> dict[str, float]:
    """Return the share of each kind of operation in the time of batches on one thread."""
    engine: Any = encoder._engine
    options: dict[str, Any] = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "PERF_COUNT": True}
    if encoder.precision != "bf16":
        options["INFERENCE_PRECISION_HINT"] = "f32"
    request = ov.Core().compile_model(engine._model, "CPU", options).create_infer_request()
    spent: Counter[str] = Counter()
    for turn in range(2):  # the first warms up
        for batch in some:
            request.infer([batch.ids, batch.lengths], share_inputs=True)
            for each in request.get_profiling_info() if turn else ():
                spent[f"{each.node_type} {each.exec_type}"] += each.real_time.total_seconds()
    total = sum(spent.values())
    return {kind: round(seconds / total, 4) for kind, seconds in spent.most_common(12)}


def processor_seconds(encoder: Encoder, texts: list[str]) -> dict[str, float]:
    """Return the processor time of each stage, all threads together."""
    started = time.process_time()
    tokens = encoder.cut(texts)
    cut = time.process_time()
    made = list(_batches(encoder, [each.ids for each in tokens]))
    batched = time.process_time()
    encoder.run(made, lambda *_: None)
    stages = {"cutting": cut - started, "batching": batched - cut}
    return {**stages, "computing": time.process_time() - batched}


def _batches(encoder: Encoder, tokens: list[Any]) -> Any:  # noqa: ANN401 - an iterator of batches
    return batches(tokens, budget=encoder.batch_tokens, longest=encoder.max_length)


def main() -> None:
    """Measure, print, write the JSON."""
    parser = command_line(__doc__, "encode-profile.json")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--model", default="corom-medical")
    asked = parser.parse_args()
    dataset = open_dataset(asked.data)
    texts = [passage.content for passage in dataset.passages()]
    encoder = Encoder.load(asked.model, engine="openvino")  # whose graph is profiled
    sample = random.Random(0).sample(texts, min(SAMPLE, len(texts)))  # noqa: S311
    encoder.encode_passages(sample[:64])  # compiles
    tokens = [each.ids for each in encoder.cut(texts)]
    lengths = np.array([len(ids) for ids in tokens])
    padded = sum(
        batch.ids.size
        for start in range(0, len(tokens), CHUNK)
        for batch in _batches(encoder, tokens[start : start + CHUNK])
    )
    shape = load_checkpoint(encoder.folder, name=asked.model).shape
    some = list(_batches(encoder, [each.ids for each in encoder.cut(sample)]))
    record = describe(threads=1)
    record |= {
        "dataset": {"name": dataset.name, "checksum": dataset.checksum(), "passages": len(texts)},
        "model": {"name": asked.model, "fingerprint": encoder.fingerprint},
        "precision": encoder.precision,
        "tokens": int(lengths.sum()),
        "padding": round(padded / int(lengths.sum()) - 1, 4),
        "operations": needed_operations(shape, lengths.tolist()),
        "processor_seconds": processor_seconds(encoder, sample),
        "kinds": kinds(encoder, some[:: max(1, len(some) // PROFILED)]),
    }
    write_json(asked.json, record)
    print(record)


if __name__ == "__main__":
    main()

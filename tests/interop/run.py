"""Other libraries load the folders corom writes, give the same vectors, and corom reads theirs.

Run by `make test-interop` (needs the torch extra): corom's engines first, then one virtual
environment per library in `.venv-interop/` (made on the first run, about 5 GB) with `check.py`
inside each, then a look at what sentence-transformers saved. All are held to plain numpy.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from check import far  # noqa: E402

from conftest import VOCABULARY, random_dense, random_weights, write_reranker  # noqa: E402
from corom.encoder import Encoder  # noqa: E402
from corom.models.checkpoint import load_checkpoint  # noqa: E402
from corom.models.config import Encoding, Shape  # noqa: E402
from corom.models.dense import Dense  # noqa: E402
from corom.models.portable import Portable, write_portable  # noqa: E402
from corom.models.token_types import TOKEN_TYPES  # noqa: E402
from corom.models.tokenizer import read_tokenizer  # noqa: E402
from corom.reranker import Reranker  # noqa: E402
from models.numpy_bert import embed  # noqa: E402

TORCH = "torch==2.13.0"
ENVIRONMENTS = {
    "st5": ("sentence-transformers==5.7.0", "transformers<5", TORCH),
    "st6": ("sentence-transformers==6.2.0", TORCH),
    "modelscope": ("modelscope[nlp]==1.40.2", "transformers<5", TORCH),
}
SHAPE = Shape(layers=3, hidden=32, heads=4, intermediate=64, vocabulary=len(VOCABULARY))
CASES = {
    "plain": Encoding(),
    "prompts": Encoding(
        pooling="avg", normalize=True, max_length=16, query_prefix="问：", passage_prefix="a1 "
    ),
    "half": Encoding(normalize=True),
    "cased": Encoding(pooling="avg"),
    "top2": Encoding(pooling="avg_top2"),
    "first_last": Encoding(pooling="avg_first_last", normalize=True),
    "dense": Encoding(normalize=True, query_prefix="问："),
    "dense_half": Encoding(pooling="avg"),
}
TEXTS = (
    "上消化道出血手术大约多久",
    "头痛发热吃什么药？",
    "CT/MRI 检查 ABC ａｂｃ １２３ café naïve",
    "糖尿病，高血压。" * 40,
    "[MASK] 患者 [SEP] 咳嗽\u3000\u200b\u0007",
    "",
    "😷𠮷龘",
)


def make_dense(name: str) -> Dense | None:
    """Return the Dense of a case: Tanh with a bias, or Identity without."""
    if not name.startswith("dense"):
        return None
    whole = name != "dense_half"
    return random_dense(SHAPE.hidden, bias=whole, tanh=whole, seed=4)


def make_cases(folder: Path) -> None:
    """Write one portable folder per case, the texts, and the vectors they should get."""
    plain = folder / "vocabulary"
    plain.mkdir()
    (plain / "vocab.txt").write_text("\n".join(VOCABULARY), encoding="utf-8")
    tokenizer = read_tokenizer(plain, shape=SHAPE, encoding=Encoding())
    truth = {}
    for name, encoding in CASES.items():
        half = name.endswith("half")
        activation = "gelu_tanh" if half else "gelu"
        shape = replace(SHAPE, activation=activation)
        own = tokenizer.replace('"lowercase":true', '"lowercase":false')
        used = own if name == "cased" else tokenizer
        model = Portable(shape, encoding, random_weights(shape), used, dense=make_dense(name))
        write_portable(folder / name, model, dtype="float16" if half else "float32")
        checkpoint = load_checkpoint(folder / name)
        for kind in ("query", "passage"):
            truth[f"{name}.{kind}"] = embed(checkpoint, TEXTS, query=kind == "query")
    np.savez(folder / "truth.npz", **truth)
    (folder / "texts.json").write_text(json.dumps(TEXTS))


def make_rerankers(folder: Path) -> None:
    """Write a cross-encoder, one with token types, and pairs with corom's scores of them."""
    write_reranker(folder / "reranker", load_checkpoint(folder / "plain"), seed=3)
    shutil.copytree(folder / "reranker", folder / "reranker-types")
    (folder / "reranker-types" / "manifest.json").unlink()
    path = folder / "reranker-types" / "model.safetensors"
    tensors, rng = load_file(path), np.random.default_rng(3)
    tensors[f"bert.{TOKEN_TYPES}"] = rng.normal(0, 0.5, (2, SHAPE.hidden)).astype(np.float32)
    save_file(tensors, path, metadata={"format": "pt"})
    queries, passages = zip(*product(TEXTS, TEXTS), strict=True)
    scores = {
        name: Reranker.load(folder / name, precision="fp32").score(queries, passages).tolist()
        for name in ("reranker", "reranker-types")
    }
    (folder / "scores.json").write_text(json.dumps(scores))


def check_own(folder: Path) -> None:
    """Compare corom's own engines with the truth."""
    truth = np.load(folder / "truth.npz")
    for name in CASES:
        for engine in ("openvino", "torch"):
            encoder = Encoder.load(str(folder / name), engine=engine, precision="fp32")
            found = {
                "query": encoder.encode_queries(TEXTS),
                "passage": encoder.encode_passages(TEXTS),
            }
            for kind, vectors in found.items():
                if far(vectors, truth[f"{name}.{kind}"], f"corom {engine} {name} {kind}"):
                    sys.exit(f"corom's {engine} engine gives other vectors")


def prepare(name: str) -> Path:
    """Return the Python of an environment, made and filled if it is not there."""
    environment = ROOT / ".venv-interop" / name
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    done = environment / "installed.json"
    wanted = json.dumps(ENVIRONMENTS[name])
    if not done.is_file() or done.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
        install = [python, "-m", "pip", "install", "--quiet", *ENVIRONMENTS[name]]
        subprocess.run(install, check=True)
        done.write_text(wanted)
    return python


def check_saved(folder: Path) -> None:
    """Compare corom's reading of what sentence-transformers saved with the truth."""
    truth = np.load(folder / "truth.npz")
    for saved in sorted(folder.glob("*.saved-by-*")):
        name = saved.name.partition(".")[0]
        vectors = embed(load_checkpoint(saved), TEXTS)
        if far(vectors, truth[f"{name}.query"], f"{saved.name}: read by corom"):
            sys.exit(f"corom reads {saved.name} differently")


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_cases(folder)
        make_rerankers(folder)
        check_own(folder)
        offline = {**os.environ, "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
        for name in sys.argv[1:] or ENVIRONMENTS:
            check = [prepare(name), Path(__file__).with_name("check.py"), name, folder]
            subprocess.run(check, check=True, env=offline)
        check_saved(folder)


if __name__ == "__main__":
    main()

"""Run inside an environment of another library: `check.py LIBRARY FOLDER` (see run.py)."""

from __future__ import annotations

import json
import sys
from itertools import product
from pathlib import Path

import numpy as np

TOLERANCE = 1e-5


def far(found: np.ndarray, wanted: np.ndarray, told: str) -> bool:
    """Tell how far numbers are off, and return whether that is too far."""
    difference = float(np.abs(found - wanted).max())
    sys.stdout.write(f"{told}: off by at most {difference:.1e}\n")
    return not difference <= TOLERANCE


def sentence_transformers_vectors(folder: Path, texts: list[str], *, save_to: Path) -> dict:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    model.save(str(save_to))
    return {"query": model.encode_query(texts), "passage": model.encode_document(texts)}


def modelscope_vectors(folder: Path, texts: list[str]) -> dict:
    from modelscope.pipelines import pipeline
    from modelscope.utils.constant import Tasks

    encode = pipeline(Tasks.sentence_embedding, model=str(folder), device="cpu")
    result = encode(input={"source_sentence": texts, "sentences_to_compare": texts})
    vectors = result["text_embedding"]
    return {"query": vectors[: len(texts)], "passage": vectors[len(texts) :]}


def sentence_transformers_scores(folder: Path, texts: list[str]) -> np.ndarray:
    import torch
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(folder), device="cpu")
    return model.predict(list(product(texts, texts)), activation_fn=torch.nn.Identity())


def modelscope_scores(folder: Path, texts: list[str]) -> np.ndarray:
    import torch
    from modelscope.pipelines import pipeline
    from modelscope.utils.constant import Tasks
    from safetensors.torch import load_file

    # ModelScope's ranking models, unlike its others, are read from a pickle only.
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    rank = pipeline(Tasks.text_ranking, model=str(folder), device="cpu")
    scores = []
    for query in texts:
        scores += rank(input={"source_sentence": [query], "sentences_to_compare": texts})["scores"]
    squashed = np.array(scores)
    return np.log(squashed / (1 - squashed))


def main(library: str, folder: Path) -> None:
    texts = json.loads((folder / "texts.json").read_text())
    truth = np.load(folder / "truth.npz")
    failed = False
    for name in sorted({key.partition(".")[0] for key in truth}):
        if library == "modelscope" and not (folder / name / "configuration.json").is_file():
            continue
        if library == "modelscope":
            vectors = modelscope_vectors(folder / name, texts)
        elif (folder / name / "modules.json").is_file():
            saved = folder / f"{name}.saved-by-{library}"
            vectors = sentence_transformers_vectors(folder / name, texts, save_to=saved)
        else:
            continue
        for kind, found in vectors.items():
            failed |= far(found, truth[f"{name}.{kind}"], f"{library} {name} {kind}")
    scores_of = modelscope_scores if library == "modelscope" else sentence_transformers_scores
    for name, wanted in json.loads((folder / "scores.json").read_text()).items():
        failed |= far(scores_of(folder / name, texts), np.array(wanted), f"{library} {name}")
    if failed:
        sys.exit(f"{library} gives other vectors or scores")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

"""The server people write first: FastAPI around sentence-transformers, one request at a time.

Runs in the peers' environment: `python serve_plain.py MODEL PORT`.
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer

app = FastAPI()
model = SentenceTransformer(sys.argv[1], device="cpu")


class Body(BaseModel):
    """OpenAI's request, as far as it is used."""

    input: list[str]


# Not `def`: in FastAPI's 40 threads, each with its own OpenMP workers, requests starve each other.
@app.post("/v1/embeddings")
async def embeddings(body: Body) -> dict[str, Any]:
    """Vectors of texts."""
    vectors = model.encode(body.input)
    rows = enumerate(vectors.tolist())
    return {"data": [{"index": index, "embedding": row} for index, row in rows]}


@app.get("/health")
def health() -> str:
    """The model is loaded."""
    return "ok"


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")

"""Indexes: passages in, ranked hits out; of vectors (exact, HNSW, IVF-PQ) or of words (BM25).

index = VectorIndex.new(dim=768)               in memory: add, remove, search, save
with open_writer(folder, spec) as writer: ...  in a folder: append, remove, finish
index = open_index(folder)                     memory-mapped, checked
"""

from corom.index.bm25 import BM25Index
from corom.index.opening import Index, open_index
from corom.index.spec import BM25Options, ExactOptions, HnswOptions, IndexSpec, IvfPqOptions
from corom.index.vector_index import VectorIndex
from corom.index.where import Where, parse_where
from corom.index.writer import IndexWriter, open_writer

__all__ = [
    "BM25Index",
    "BM25Options",
    "ExactOptions",
    "HnswOptions",
    "Index",
    "IndexSpec",
    "IndexWriter",
    "IvfPqOptions",
    "VectorIndex",
    "Where",
    "open_index",
    "open_writer",
    "parse_where",
]

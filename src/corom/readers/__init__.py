"""Data files to passages, queries, qrels, groups and pairs: streamed, checked, with line numbers.

`open_dataset` recognises a folder, `open_passages` and `open_queries` a file, whose columns and
encoding a `Layout` names. Every reader takes `skips`, a SkipReport that counts bad records instead
of raising at the first.
"""

from corom.readers.dataset import Dataset, DatasetCheck, SplitCheck
from corom.readers.documents import open_documents
from corom.readers.groups import Group, read_groups, write_groups
from corom.readers.layout import Layout
from corom.readers.lines import SkipReport
from corom.readers.pairs import Pair, read_pairs, write_pairs
from corom.readers.recognise import open_dataset, open_passages, open_queries
from corom.readers.tsv import read_qrels

__all__ = [
    "Dataset",
    "DatasetCheck",
    "Group",
    "Layout",
    "Pair",
    "SkipReport",
    "SplitCheck",
    "open_dataset",
    "open_documents",
    "open_passages",
    "open_queries",
    "read_groups",
    "read_pairs",
    "read_qrels",
    "write_groups",
    "write_pairs",
]

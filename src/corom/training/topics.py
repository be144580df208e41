"""Topics of queries: batches of one topic make every in-batch negative a hard one, for free.

Topic-aware sampling (TAS, arXiv 2104.06967): queries are clustered once, by k-means on the vectors
of the model that training starts from, and a batch is filled from one cluster.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from corom.clustering import cluster_kmeans
from corom.errors import InputError
from corom.index.segments import write_array
from corom.training.batches import Texts
from corom.training.frame import Run
from corom.training.frozen import Frozen
from corom.training.settings import TrainSettings

FILE = "topics.npy"
_AT_ONCE = 512


def query_topics(
    run: Run[TrainSettings], queries: Sequence[str], *, model: Frozen
) -> NDArray[np.int64]:
    """Return the topic of each query, `(queries,)` from 0 to `data.topics` - 1.

    The main process clusters and keeps the result in the run's folder: vectors differ in their last
    bits between devices, and all processes, and a resumed run, must plan the same batches.
    Raises InputError for fewer different queries than topics.
    """
    path, count = run.folder / FILE, run.settings.data.topics
    if run.accelerator.is_main_process and not path.exists():
        distinct = len(set(queries))
        if distinct < count:
            raise InputError(f"data.topics is {count}, but there are {distinct} different queries")
        texts = Texts(tuple(queries), ())
        vectors = model.vectors(texts, at_once=_AT_ONCE).float().cpu().numpy()
        write_array(path, cluster_kmeans(vectors, count, seed=run.settings.run.seed))
    run.accelerator.wait_for_everyone()
    topics: NDArray[np.int64] = np.load(path, allow_pickle=False)
    return topics

"""ModelScope's configuration of a trainer to corom's settings, and what of it has no effect.

A value may stand under several names; the one that `cfg_modify_fn` changed counts, two different
changes are an error:

| here | in the configuration |
|---|---|
| `data.negatives` | `train.neg_samples`, `train.neg_sample`, `dataset.train.neg_sample(s)` |
| `optimizer.batch`, per process | `train.train_batch_size`, `….dataloader.batch_size_per_gpu` |
| `optimizer.epochs` | `train.max_epochs` |
| `optimizer.learning_rate`, `.weight_decay` | `train.optimizer.lr`, `.weight_decay` |
| `optimizer.accumulate`, `.clip` | `….options.cumulative_iters`, `….options.grad_clip.max_norm` |
| `optimizer.schedule` | `train.lr_scheduler.type`: LinearLR, CosineAnnealingLR, ConstantLR |
| `data.query_length`, `.passage_length` | `preprocessor.max_length`, `.sequence_length` |
| `run.log_every`, `run.seed` | `train.logging.interval`, `train.seed` |
| any | `corom`: the tables of docs/training.md |
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, NamedTuple

from corom.checks import require_one_of
from corom.environment import process_count
from corom.errors import InputError
from corom.files import read_object
from corom.models.checkpoint import Checkpoint
from corom.modelscope.config import Config, leaves
from corom.training.settings import TrainSettings
from corom.training.tables import from_table, merged

NEGATIVES = (
    *("train.neg_samples", "train.neg_sample"),
    *("dataset.train.neg_sample", "dataset.train.neg_samples"),
)
BATCH = ("train.train_batch_size", "train.dataloader.batch_size_per_gpu")
LENGTH = ("preprocessor.max_length", "preprocessor.sequence_length")
FIELDS = ("text_fileds", "text_fields")
METRICS = "evaluation.metrics"
_EPOCHS, _SEED, _LOG = "train.max_epochs", "train.seed", "train.logging.interval"
_OPTIMIZER, _SCHEDULE = "train.optimizer.type", "train.lr_scheduler.type"
_PLAIN = {
    "train.optimizer.lr": "learning_rate",
    "train.optimizer.weight_decay": "weight_decay",
    "train.optimizer.options.cumulative_iters": "accumulate",
    "train.optimizer.options.grad_clip.max_norm": "clip",
}
_SCHEDULES = {"LinearLR": "linear", "CosineAnnealingLR": "cosine", "ConstantLR": "constant"}
_DATA_KEYS = ("type", "query_sequence", "pos_sequence", "neg_sequence", "qid_field", *FIELDS)
_KNOWN = {
    *(*NEGATIVES, *BATCH, *LENGTH, *_PLAIN, METRICS, _EPOCHS, _SEED, _LOG, _OPTIMIZER, _SCHEDULE),
    *(f"dataset.{split}.{key}" for split in ("train", "val") for key in _DATA_KEYS),
    # Of these nothing depends in what comes out: names, places, memory.
    *("framework", "task", "pipeline.type", "preprocessor.type", "train.work_dir"),
    *("evaluation.dataloader.batch_size_per_gpu", "evaluation.batch_size"),
    *(f"{part}.dataloader.workers_per_gpu" for part in ("train", "evaluation")),
}
_READ = ("dataset.", "train.", "evaluation.")


class Names(NamedTuple):
    """What the fields of a row are called."""

    query: str
    positives: str
    negatives: str
    query_id: str
    text: tuple[str, ...]
    """Fields of a passage that are joined; empty: title and text, as far as they are there."""


def default_config(checkpoint: Checkpoint) -> Config:
    """Return the configuration a trainer starts with: the card's, and what the model states."""
    stated = read_object(checkpoint.folder / "configuration.json", missing_ok=True)
    rows = {
        "type": "bert",
        "query_sequence": "query",
        "pos_sequence": "positive_passages",
        "neg_sequence": "negative_passages",
        "qid_field": "query_id",
    }
    loader = {"batch_size_per_gpu": 64, "workers_per_gpu": 0}
    table = {
        "framework": "pytorch",
        "task": "sentence-embedding",
        "preprocessor": {
            "type": "sentence-embedding",
            "max_length": checkpoint.encoding.max_length,
        },
        "dataset": {"train": {**rows, "neg_sample": 4}, "val": rows},
        "train": {
            "work_dir": "./work_dir",
            "max_epochs": 3,
            "dataloader": loader,
            "optimizer": {"type": "AdamW", "lr": 5e-6, "weight_decay": 0.01, "options": {}},
            "lr_scheduler": {"type": "LinearLR"},
        },
        "evaluation": {"dataloader": loader, "metrics": ["mrr@10", "ndcg@10"]},
    }
    return Config(merged(table, {k: v for k, v in stated.items() if v is not None}))


class Translation:
    """A configuration before and after `cfg_modify_fn`."""

    def __init__(self, before: Config, after: Config) -> None:
        self.config, old = after, dict(leaves(before))
        self._changed = {
            path for path, value in leaves(after) if path not in old or old[path] != value
        }
        if after.get("task") != "sentence-embedding":
            raise InputError(f"task {after.get('task')!r} is not 'sentence-embedding'")
        if (kind := after.safe_get(_OPTIMIZER, "AdamW")) != "AdamW":
            raise InputError(f"{_OPTIMIZER} = {kind!r}: corom trains with AdamW only")

    def value(self, paths: Sequence[str], default: Any = None) -> Any:  # noqa: ANN401
        """Return what stands under one of the `paths`: what was changed, else the first."""
        given = {p: v for p in paths if (v := self.config.safe_get(p)) is not None}
        chosen = {p: v for p, v in given.items() if p in self._changed} or given
        if len({repr(value) for value in chosen.values()}) > 1 and chosen is not given:
            said = ", ".join(f"{path} = {value!r}" for path, value in chosen.items())
            raise InputError(f"two names of one setting, two values: {said}; set one of them")
        return next(iter(chosen.values()), default)

    def names(self, split: str) -> Names:
        """Return the fields of a split's rows."""
        at = f"dataset.{split}."

        def field(name: str) -> str:
            value = self.config.safe_get(at + name)
            if not isinstance(value, str):
                raise InputError(f"{at}{name} is {value!r}; expected the name of a field")
            return value

        text = self.value([at + name for name in FIELDS], ())
        if not isinstance(text, list | tuple) or not all(isinstance(name, str) for name in text):
            raise InputError(f"{at}{FIELDS[0]} is {text!r}; expected a list of names")
        return Names(
            query=field("query_sequence"),
            positives=field("pos_sequence"),
            negatives=field("neg_sequence"),
            query_id=field("qid_field"),
            text=tuple(text),
        )

    def measures(self) -> tuple[str, ...]:
        """Return the measures that evaluation gives, as `corom.metrics` calls them."""
        found, known = [], {"mrr": "MRR", "ndcg": "nDCG", "recall": "Recall"}
        asked = self.config.safe_get(METRICS) or ()
        for name in [asked] if isinstance(asked, str) else asked:
            kind, at, cut = str(name).partition("@")
            if name == "text-ranking-metric":
                found += ["MRR@10", "nDCG@10"]
            elif kind.lower() in known and at and cut.isdigit() and int(cut):
                found.append(f"{known[kind.lower()]}@{int(cut)}")
            else:
                raise InputError(f"{METRICS}: {name!r} is none of mrr@10, ndcg@10, recall@10")
        return tuple(dict.fromkeys(found)) or ("MRR@10", "nDCG@10")

    def unknown(self) -> list[str]:
        """Return the paths that have no effect, each with a likely one."""
        found = []
        for path, _ in leaves(self.config):
            read = path in self._changed or path.startswith(_READ)
            if read and path not in _KNOWN and not path.startswith("corom."):
                close = difflib.get_close_matches(path, _KNOWN, n=1, cutoff=0.8)
                found.append(path + (f" (did you mean {close[0]}?)" if close else ""))
        return found

    def settings(
        self, checkpoint: Checkpoint, *, train: str, dev: str | None, output: str, device: str
    ) -> TrainSettings:
        """Return the settings of the run; raise InputError for values no setting takes."""
        schedule = self.config.safe_get(_SCHEDULE, "LinearLR")
        require_one_of(_SCHEDULE, schedule, _SCHEDULES)
        length = self.value(LENGTH)
        optimizer = {name: self.config.safe_get(path) for path, name in _PLAIN.items()}
        cosine = checkpoint.encoding.normalize
        table = {
            "model": checkpoint.name,
            "output": output,
            "data": {
                "train": [train],
                "negatives": self.value(NEGATIVES),
                "query_length": length,
                "passage_length": length,
            },
            # ModelScope's loss: the dot products as they are. A model that normalises would
            # learn next to nothing from cosines at a temperature of 1.
            "loss": {
                "similarity": "cosine" if cosine else "dot",
                "temperature": 0.02 if cosine else 1.0,
            },
            "optimizer": {
                "epochs": self.config.safe_get(_EPOCHS),
                "batch": _times(self.value(BATCH), process_count()),
                "schedule": _SCHEDULES[schedule],
                "warmup": 0.0,
                **{name: value for name, value in optimizer.items() if value is not None},
            },
            "run": {
                "seed": self.config.safe_get(_SEED, 42),
                "device": device,
                "log_every": self.config.safe_get(_LOG, 10),
            },
        }
        if dev is not None:
            table["dev"] = {"folder": dev, "queries": "val", "measure": self.measures()[0]}
        return from_table(TrainSettings, merged(table, self.config.get("corom", {})))


def _times(value: Any, count: int) -> Any:  # noqa: ANN401 - from_table says what is wrong with it
    return value * count if isinstance(value, int) else value

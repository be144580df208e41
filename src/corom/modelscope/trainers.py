"""The trainer of the CoROM model cards: `build_trainer`, `.train()`, `.evaluate()`.

ModelScope's own knows neither a temperature nor false negatives, gives no retrieval figure, and
ignores keys that its card sets (docs/training.md lists the differences).

    work_dir/data/     the rows as files
             run/      settings, log, checkpoints: `.train()` again goes on after a kill
             output/   the finished model, for `pipeline`, `Encoder` and ModelScope
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from corom.drafts import draft_of
from corom.encoder import Encoder
from corom.environment import is_main_process
from corom.errors import InputError
from corom.extras import need
from corom.files import MANIFEST, atomic_folder
from corom.models import EMBEDDED
from corom.modelscope.config import Config
from corom.modelscope.pipelines import Model, opened
from corom.modelscope.rows import write_rows
from corom.modelscope.train_settings import Translation, default_config

if TYPE_CHECKING:
    from corom.training.progress import Progress
    from corom.training.run_settings import DevSettings

Rows: TypeAlias = Iterable[Mapping[str, Any]]
Modify: TypeAlias = Callable[[Config], Config]


class Trainers:
    """The names of trainers; corom has one."""

    nlp_sentence_embedding_trainer = "nlp-sentence-embedding-trainer"


class SentenceEmbeddingTrainer:
    """Trains a model on rows of queries with passages, and measures it on others."""

    def __init__(
        self,
        *,
        model: str | Path | Model = EMBEDDED,
        train_dataset: Rows | None = None,
        eval_dataset: Rows | None = None,
        work_dir: str | Path | None = None,
        cfg_modify_fn: Modify | None = None,
        max_epochs: float | None = None,
        seed: int | None = None,
        device: str = "auto",
        model_revision: str | None = None,
    ) -> None:
        self._checkpoint = opened(model, model_revision).checkpoint
        before = default_config(self._checkpoint)
        self.cfg = _modified(deepcopy(before), cfg_modify_fn)
        given = {"train.max_epochs": max_epochs, "train.seed": seed, "train.work_dir": work_dir}
        self.cfg.merge_from_dict({key: v for key, v in given.items() if v is not None})
        self._translation = Translation(before, self.cfg)
        self.work_dir = Path(self.cfg.train.work_dir)
        self._rows = {"train": train_dataset, "val": eval_dataset}
        self._device = _device(device)
        if unknown := self._translation.unknown():
            warnings.warn(
                f"the configuration has keys without effect: {', '.join(unknown)}", stacklevel=3
            )

    @property
    def model_dir(self) -> str:
        """The folder of the finished model."""
        return str(self.work_dir / "output")

    def train(self, checkpoint_path: str | Path | None = None) -> dict[str, float]:
        """Train, write the model to `work_dir`/output and return its figures on `eval_dataset`.

        What was begun in `work_dir` goes on, with or without `checkpoint_path` (which must lie in
        it). Under torchrun all processes share the work. Raises InputError for settings and rows
        that cannot be used, also where `work_dir` holds another run or an `output` that is no
        model, and TrainingError when the loss breaks.
        """
        from corom.training import train

        inside = self.work_dir.resolve()
        if checkpoint_path is not None and inside not in Path(checkpoint_path).resolve().parents:
            raise InputError(
                f"{checkpoint_path} is no checkpoint of {self.work_dir}, to resume from"
            )
        _require_replaceable(Path(self.model_dir))
        settings = self._translation.settings(
            self._checkpoint,
            train=str(self._file("train")),
            dev=str(self._file("val").parent) if self._rows["val"] is not None else None,
            output=str(self.work_dir / "run"),
            device=self._device,
        )
        every = settings.run.log_every
        finished = train(settings, progress=partial(_tell, every=every, dev=settings.dev))
        if is_main_process():
            _replace(Path(self.model_dir), finished.model)
            return self.evaluate() if self._rows["val"] is not None else {}
        return {}

    def evaluate(self, checkpoint_path: str | Path | None = None) -> dict[str, float]:
        """Search the passages of `eval_dataset` for its queries; print and return the figures.

        The model: `checkpoint_path` (a model folder), else the finished one, else the one training
        starts from. Positives of a query are relevant, all other passages are not.
        """
        from corom.evaluation import Dense, evaluate
        from corom.readers import open_dataset

        folder = Path(checkpoint_path or self.model_dir)
        if checkpoint_path is None and not folder.is_dir():
            folder = self._checkpoint.folder
        encoder = Encoder.load(folder)
        dataset = open_dataset(self._file("val").parent)
        measures = self._translation.measures()
        model = Dense(encoder, name=folder.name, work=self.work_dir / "vectors")
        depth = max(int(name.partition("@")[2]) for name in measures)
        report = evaluate(dataset, [model], splits=["val"], measures=measures, depth=depth)
        figures = {name.lower(): report.results[0].evaluation.means[name] for name in measures}
        _print(", ".join(f"{name}: {value:.4f}" for name, value in figures.items()))
        return figures

    def _file(self, split: str) -> Path:
        """Return the file of a split's rows, written anew."""
        rows, name = self._rows[split], {"train": "train_dataset", "val": "eval_dataset"}[split]
        if rows is None:
            raise InputError(f"the trainer has no {name}; give it to build_trainer")
        target = self.work_dir / "data" / split / f"{split}.jsonl"
        what = str(getattr(rows, "name", None) or name)
        write_rows(target, rows, names=self._translation.names(split), what=what)
        return target


def build_trainer(
    name: str = Trainers.nlp_sentence_embedding_trainer,
    default_args: Mapping[str, Any] | None = None,
) -> SentenceEmbeddingTrainer:
    """Return the trainer called `name`, made with `default_args`.

    They are `model`, `train_dataset`, `eval_dataset`, `work_dir`, `cfg_modify_fn`, `max_epochs`,
    `seed`, `device` and `model_revision`. Keys of the configuration that have no effect are
    reported by a warning. Raises InputError for names and arguments it does not know.
    """
    if name != Trainers.nlp_sentence_embedding_trainer:
        raise InputError(f"trainer {name!r} is not {Trainers.nlp_sentence_embedding_trainer!r}")
    known = set(SentenceEmbeddingTrainer.__init__.__annotations__) - {"return"}
    if unknown := [key for key in default_args or {} if key not in known]:
        raise InputError(
            f"default_args has the unknown key {unknown[0]!r}; it takes {', '.join(sorted(known))}"
        )
    return SentenceEmbeddingTrainer(**(default_args or {}))


def _modified(config: Config, modify: Modify | None) -> Config:
    if modify is None:
        return config
    found = modify(config)
    if not isinstance(found, Mapping):
        raise InputError(f"cfg_modify_fn returned {type(found).__name__}; it must return the cfg")
    return found if isinstance(found, Config) else Config(found)


def _device(name: str) -> str:
    """Return what settings call the device: a GPU that is there is taken by auto, too."""
    if name not in ("auto", "cpu", "gpu", "cuda"):
        raise InputError(f"device {name!r} is none of auto, cpu, gpu, cuda; torchrun takes several")
    is_gpu = name in ("gpu", "cuda")
    if is_gpu and not need("torch", extra="train").cuda.is_available():
        raise InputError(f"device {name!r}: torch finds no GPU; use cpu or auto")
    return "auto" if is_gpu else name


def _require_replaceable(target: Path) -> None:
    """Raise InputError for what is not ours to replace, hours before it would be."""
    is_ours = (target / MANIFEST).is_file() and not target.is_symlink()
    if os.path.lexists(target) and not is_ours:
        raise InputError(
            f"{target} would be replaced by the model, but is none that was written here; "
            "name another work_dir"
        )


def _replace(target: Path, model: Path) -> None:
    """Copy a model folder to `target`, over what an earlier training left there."""
    if target.exists():
        # In one step: killed amidst it, a training could not tell what is left from another's.
        with draft_of(target, folder=True) as draft:
            target.rename(draft / target.name)
    with atomic_folder(target) as draft:
        shutil.copytree(model, draft, dirs_exist_ok=True)


def _tell(now: Progress, *, every: int, dev: DevSettings | None) -> None:
    at = f"step {now.step}/{now.steps}"
    if now.step % every == 0:
        rate, speed = f"lr {now.learning_rate:.2e}", f"{now.texts_per_s:.0f} texts/s"
        _print(f"{at}: loss {now.loss:.4f}, {rate}, {speed}")
    if now.dev is not None and dev is not None:
        _print(f"{at}: {dev.measure.lower()}: {now.dev:.4f}")


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - what ModelScope's trainer does, and its users look at

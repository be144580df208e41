"""What a run will need only later, looked at before its first step: hours lie between.

A message begins with the setting it is about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tokenizers import Tokenizer

from corom.errors import ArtifactError, InputError
from corom.evaluation import require_measurable
from corom.extras import need
from corom.models.checkpoint import Checkpoint
from corom.models.names import open_model
from corom.readers import open_dataset
from corom.training.kept_states import check_part
from corom.training.run_settings import JudgedSettings, check
from corom.training.settings import LossSettings, PretrainSettings, TrainSettings
from corom.training.tower import open_checkpoint

_ANY_DEPTH = 10_000


@contextmanager
def _setting(name: str) -> Iterator[None]:
    """Put the name of a setting before what is wrong with its value."""
    try:
        yield
    except (InputError, ArtifactError) as error:
        raise type(error)(f"{name}: {error}") from None


def check_data(paths: Iterable[str], *, split: str = "", at: str) -> None:
    """Raise InputError for a path that is not there, or a data set folder without the split."""
    for path in map(Path, paths):
        check(path.exists(), f"{at}: {path} does not exist; check the path")
        if split and path.is_dir():
            splits = open_dataset(path).splits
            known = ", ".join(splits)
            check(split in splits, f"{at}: {path} has no split {split!r}; there are {known}")


def check_dev(dev: JudgedSettings | None, *, at: str = "dev") -> None:
    """Raise InputError for a dev set that is not there or cannot be measured as asked."""
    if dev is None:
        return
    check_data([dev.folder], split=dev.queries, at=f"{at}.folder")
    asked = {"splits": [dev.queries], "measures": [dev.measure]}
    check_measurable(dev.folder, **asked, depth=_ANY_DEPTH, at=at)


def check_measurable(
    folder: str, *, splits: Sequence[str], measures: Sequence[str], depth: int, at: str
) -> None:
    """Raise InputError for a data set that cannot be measured as asked."""
    need("ir_measures", extra="train")
    with _setting(at):
        require_measurable(open_dataset(folder), splits=splits, measures=measures, depth=depth)


def check_shared(batch: int, *, at: str, processes: int) -> None:
    """Raise InputError for a batch that the processes cannot share evenly."""
    check(
        batch % processes == 0, f"{at} = {batch} cannot be shared evenly by {processes} processes"
    )


def check_length(length: int, checkpoint: Checkpoint, *, at: str) -> None:
    """Raise InputError for texts longer than the model has positions."""
    most = checkpoint.shape.positions
    check(
        length <= most,
        f"{at} is {length}, more than the {most} positions of {checkpoint.name}; "
        f"set it to {most} or less",
    )


def check_training(
    settings: TrainSettings, checkpoint: Checkpoint, *, at: str = "", coming: str = ""
) -> None:
    """Raise InputError for what cannot be learned from this checkpoint, or measured then.

    `coming`: the folder below which earlier steps will put models, which cannot be looked at yet.
    """
    for name in ("query_length", "passage_length"):
        check_length(getattr(settings.data, name), checkpoint, at=f"{at}data.{name}")
    if (part := settings.optimizer.trained) != "all":
        check_part(part, checkpoint, at=at)
    _check_loss(settings.loss, checkpoint, at=f"{at}loss", coming=coming)
    check_dev(settings.dev, at=f"{at}dev")


def _comes(name: str, folder: str) -> bool:
    """Whether a model lies, or will lie, below the folder."""
    return bool(folder) and Path(name).resolve().is_relative_to(Path(folder).resolve())


def _check_loss(loss: LossSettings, checkpoint: Checkpoint, *, at: str, coming: str) -> None:
    dim = checkpoint.dim
    for size in loss.matryoshka:
        check(
            size <= dim,
            f"{at}.matryoshka holds {size}, but the vectors of {checkpoint.name} have {dim} "
            "dimensions; leave it out",
        )
    for name in loss.teachers:
        if _comes(name, coming):
            continue
        with _setting(f"{at}.teachers"):
            teacher = open_checkpoint(name)
        check(
            loss.teacher_loss not in ("cosine", "mse") or teacher.dim == dim,
            f"{at}.teacher_loss = {loss.teacher_loss!r} imitates vectors of as many dimensions: "
            f"{name} has {teacher.dim}, {checkpoint.name} {dim}; imitate its scores "
            "('kl', 'margin_mse')",
        )
    if loss.reranker and not _comes(loss.reranker, coming):
        with _setting(f"{at}.reranker"):
            reranker = open_model(loss.reranker)
        check(
            reranker.is_classifier,
            f"{at}.reranker: {loss.reranker} is an encoder; name what corom train reranker made",
        )


def check_pretraining(settings: PretrainSettings, checkpoint: Checkpoint, *, at: str = "") -> None:
    """Raise InputError for what this checkpoint cannot learn or read, or a dev set that is not.

    And for a Dense, which would no longer fit the [CLS] vectors it stands behind.
    """
    name, early, layers = checkpoint.name, settings.early_layer, checkpoint.shape.layers
    check(
        checkpoint.dense is None,
        f"model: {name} has a Dense behind its pooling; pre-train one without",
    )
    check(
        Tokenizer.from_str(checkpoint.tokenizer_json).token_to_id("[MASK]") is not None,
        f"model: the tokenizer of {name} has no token [MASK]",
    )
    check(
        early is None or early <= layers,
        f"{at}early_layer = {early}, but the encoder has {layers} layers",
    )
    check_length(settings.span_length, checkpoint, at=f"{at}span_length")
    check_dev(settings.dev, at=f"{at}dev")

"""From the name of a model to its folder on this machine, and to what lies in it."""

from __future__ import annotations

from pathlib import Path

from corom.environment import at_home
from corom.errors import ArtifactError, DownloadError, InputError
from corom.hubs import REPOSITORY, Progress
from corom.models import EMBEDDED, hub
from corom.models.checkpoint import Checkpoint, load_checkpoint

_EMBEDDED_FOLDER = Path(__file__).with_name("embedded")
_MODELSCOPE_OWNERS = ("damo", "iic")


def resolve(
    name: str | Path,
    *,
    revision: str | None = None,
    download: bool = True,
    progress: Progress | None = None,
) -> Path:
    """Return the folder of the model called `name`.

    A name is, in this order: a folder that exists; `corom-medical`, which is embedded;
    `damo/…` or `iic/…` on ModelScope; `owner/name` on Hugging Face (both need the hub extra). A
    model in the hub's own cache is used without a connection; else it is downloaded, resuming what
    was interrupted, unless `download` is false or an offline variable is set. `revision` pins a
    tag, branch or commit of a hub.

    Raises InputError for a name that cannot be one, ArtifactError for a folder that is not there,
    DownloadError when the hub does not deliver or must not be asked.
    """
    text = str(name)
    if text and at_home(text).is_dir():
        _refuse_revision(text, revision)
        return at_home(text)
    if text == EMBEDDED:
        _refuse_revision(text, revision)
        return _EMBEDDED_FOLDER / text
    if isinstance(name, Path) or text.startswith((".", "/", "~")) or "\\" in text:
        raise ArtifactError(f"{text} is not a model folder: there is no such folder")
    if not REPOSITORY.fullmatch(text):
        raise InputError(
            f"{text!r} names no model; possible are a folder, {EMBEDDED}, damo/… or "
            "iic/… (ModelScope) and owner/name (Hugging Face)"
        )
    owner = text.partition("/")[0]
    if Path(owner).is_dir():  # a slip of the pen: where somebody keeps models is no hub's business
        raise ArtifactError(
            f"{owner} is a folder here and holds no model folder {text}; if you mean a hub's "
            f"{text}, work in a folder without {owner}"
        )
    fetch = hub.from_modelscope if owner in _MODELSCOPE_OWNERS else hub.from_hugging_face
    try:
        return fetch(text, revision=revision, download=download, progress=progress)
    except DownloadError as error:
        raise DownloadError(f"there is no folder {text} here, and {error}") from None


def open_model(name: str | Path, *, revision: str | None = None) -> Checkpoint:
    """Return the encoder or reranker called `name`; raises what `resolve` and a bad folder do."""
    return load_checkpoint(resolve(name, revision=revision), name=str(name))


def _refuse_revision(name: str, revision: str | None) -> None:
    if revision is not None:
        raise InputError(
            f"{name} is on this machine and has no revision {revision!r}; leave it out"
        )

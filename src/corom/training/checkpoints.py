"""The full state of a run as plain files, so that it resumes as if it had never stopped.

    checkpoints/step-00000500/weights.safetensors      the model, under its own names
                              optimizer.safetensors    AdamW's moments and step counts
                              state.json               counters and figures
                              manifest.json            sizes and checksums, written last

No random state is kept: torch's generators are seeded anew at each step, from the seed and the
step, and sampling is a pure function of (seed, epoch, row).

To the bit on the CPU, unless another model is imitated (`frozen`): what that gives a text differs
in the last bits (1e-7) with the texts it is computed beside, others after a kill.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from corom.errors import ArtifactError
from corom.files import MANIFEST, atomic_folder, check_manifest, read_json, write_json
from corom.models.weights import writing


@dataclass
class Progressed:
    """How far a run is: what the loop counts and remembers."""

    step: int = 0
    best_step: int = 0
    best_dev: float | None = None
    evaluations_since_best: int = 0
    loss_sum: float = 0.0
    """Of the batches since the last line of the log."""
    batches: int = 0
    seconds: float = 0.0
    """Spent in training, over all restarts."""
    dev: dict[str, float] = field(default_factory=dict)
    """Step -> dev figure."""


def checkpoint_folder(folder: Path, step: int) -> Path:
    """Return where the checkpoint of `step` lies in the run's `folder`."""
    return folder / "checkpoints" / f"step-{step:08d}"


def checkpoints(folder: Path) -> list[Path]:
    """Return the finished checkpoints of a run, oldest first."""
    found = (folder / "checkpoints").glob("step-*")
    return sorted(path for path in found if (path / MANIFEST).is_file())


def save_state(
    folder: Path, model: nn.Module, *, optimizer: torch.optim.Optimizer, progressed: Progressed
) -> Path:
    """Write the checkpoint of the current step atomically and return its folder."""
    target = checkpoint_folder(folder, progressed.step)
    with atomic_folder(target) as draft:
        with writing(draft / "weights.safetensors") as path:
            save_file(_plain(model.state_dict()), path)
        with writing(draft / "optimizer.safetensors") as path:
            save_file(_moments(model, optimizer), path)
        write_json(draft / "state.json", asdict(progressed))
    return target


def load_state(
    checkpoint: Path, model: nn.Module, *, optimizer: torch.optim.Optimizer
) -> Progressed:
    """Fill model and optimizer from a checkpoint and return its counters; refuse a damaged one."""
    try:
        check_manifest(checkpoint)
    except ArtifactError as error:
        advice = f"remove {checkpoint}: the run then goes on from the checkpoint before it"
        raise ArtifactError(f"{error}; {advice}") from None
    load_weights(checkpoint, model)
    moments = load_file(checkpoint / "optimizer.safetensors")
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        state = {key: moments[f"{key}.{name}"] for key in _MOMENTS if f"{key}.{name}" in moments}
        optimizer.state[parameter] = {key: t.to(parameter.device) for key, t in state.items()}
    return Progressed(**read_json(checkpoint / "state.json"))


def load_weights(checkpoint: Path, model: nn.Module) -> None:
    """Fill the model from a checkpoint's weights; refuse those of another model."""
    weights = load_file(checkpoint / "weights.safetensors")
    try:
        model.load_state_dict(weights)
    except RuntimeError:
        raise ArtifactError(f"{checkpoint} holds the weights of another model") from None


def prune(folder: Path, *, keep: int, best_step: int) -> None:
    """Remove all checkpoints but the newest `keep` and the best one; half-removed ones, too."""
    kept = {checkpoint_folder(folder, best_step), *checkpoints(folder)[-keep:]}
    for path in (folder / "checkpoints").glob("step-*"):
        if path not in kept:
            # The manifest goes first: a half-removed checkpoint is no checkpoint.
            (path / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(path)


_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _moments(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    found = {}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            found[f"{key}.{name}"] = value
    return _plain(found)

"""Small training data over the tiny checkpoint's characters."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from corom.errors import ArtifactError
from corom.files import writer_lock

if TYPE_CHECKING:
    from corom.training.frame import Finished

DISEASES = ("糖尿病", "高血压", "头痛", "发热", "咳嗽", "出血", "心肺", "肝肾", "胃肠", "消化道")
ASKED = ("吃什么药", "注意什么", "多久", "手术", "检查", "治疗")
TOLD = ("患者要休息", "多吃药", "在家注意饮食", "来家手术", "要注意检查", "自家治疗")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(1)


def texts() -> list[tuple[str, str]]:
    """Sixty questions with their answers."""
    return [
        (f"{disease}{asked}？", f"{told}，{disease}。{asked}{disease}的{told}")
        for disease in DISEASES
        for asked, told in zip(ASKED, TOLD, strict=True)
    ]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A file of sixty pairs, two negatives each, from two sources."""
    known, rng = texts(), np.random.default_rng(0)
    path = tmp_path / "pairs.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number, (query, positive) in enumerate(known):
            others = [known[place][1] for place in rng.permutation(60)[:3] if place != number]
            record = {"query": query, "positive": positive, "negatives": others[:2]}
            record["source"] = "real" if number % 2 else "made"
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    return path


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """The same questions and answers as a Multi-CPR folder, splits `train` and `dev`."""
    folder = tmp_path / "medical"
    folder.mkdir()
    known = texts()
    corpus = "".join(f"{number}\t{answer}\n" for number, (_, answer) in enumerate(known, 1))
    (folder / "corpus.tsv").write_text(corpus, encoding="utf-8")
    for split, chosen in (("train", range(60)), ("dev", range(0, 60, 3))):
        queries = "".join(f"{number + 1}\t{known[number][0]}\n" for number in chosen)
        qrels = "".join(f"{number + 1}\t0\t{number + 1}\t1\n" for number in chosen)
        (folder / f"{split}.query.txt").write_text(queries, encoding="utf-8")
        (folder / f"qrels.{split}.tsv").write_text(qrels, encoding="utf-8")
    return folder


@pytest.fixture
def run_table(tiny_checkpoint: Callable[..., Any], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The settings of a run that takes seconds: `run_table("run", **parts of a verb's own)`."""
    checkpoint = tiny_checkpoint()

    def make(output: str, **own: Any) -> dict[str, Any]:
        return {
            "model": str(checkpoint.folder),
            "output": str(tmp_path / output),
            "optimizer": {"batch": 8, "max_steps": 6, "epochs": 5, "learning_rate": 1e-3},
            "run": {"device": "cpu", "precision": "fp32", "log_every": 1, "checkpoint_every": 2},
            **own,
        }

    return make


@pytest.fixture
def chain_table(
    tiny_checkpoint: Callable[..., Any], tmp_path: Path, dataset: Path
) -> dict[str, Any]:
    """A recipe of both stages that takes seconds."""
    checkpoint = tiny_checkpoint()
    return {
        "model": str(checkpoint.folder),
        "output": str(tmp_path / "chain"),
        "stage1": {
            "data": {"train": [str(dataset)], "fill": "random", "negatives": 1},
            "optimizer": {"batch": 8, "epochs": 2, "max_steps": 4, "learning_rate": 1e-3},
            "run": {"device": "cpu", "precision": "fp32", "log_every": 1, "dropout": 0.0},
        },
        "mine": {"depth": 20, "negatives": 2, "relative_margin": "none"},
        "stage2": {"optimizer": {"learning_rate": 5e-4}, "data": {"negatives": 2}},
        "evaluate": {
            "folder": str(dataset),
            "measures": ["MRR@10"],
            "depth": 20,
            "precision": "fp32",
        },
    }


def log_of(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log, without what depends on the clock."""
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        {key: value for key, value in json.loads(line).items() if key != "texts_per_s"}
        for line in lines
    ]


def losses(finished: Finished) -> list[float]:
    """The losses that a run logged."""
    return [line["loss"] for line in log_of(finished.model.parent) if "loss" in line]


def enter_at_once(verb: Callable[[Any], Finished], settings: Any) -> None:
    """Check that a run somebody is in is refused, and that a finished one is only read."""
    folder = Path(settings.output)
    folder.mkdir()
    with (
        writer_lock(folder),
        pytest.raises(ArtifactError, match="is being written by another process"),
    ):
        verb(settings)
    finished = verb(settings)
    with writer_lock(folder):
        assert verb(settings) == finished


APART = """
import json, os, signal, sys
import torch
from corom import training
from corom.training import settings
from corom.training.tables import from_table
torch.set_num_threads(1)
kinds = {"train": "Train", "pretrain": "Pretrain", "train_reranker": "Reranker"}
with open(sys.argv[1], encoding="utf-8") as file:
    chosen = from_table(getattr(settings, kinds[sys.argv[2]] + "Settings"), json.load(file))
def progress(now):
    if getattr(now, "step", 0) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
getattr(training, sys.argv[2])(chosen, progress=progress)
"""
# A process that ends while gloo's threads still talk to the others aborts now and then.
LEAVE = """
import torch.distributed
if torch.distributed.is_initialized():
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
"""


@pytest.fixture
def run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a script in a new process (or several, joined by gloo) and return how it ended."""

    def run(
        script: str, *arguments: str, processes: int = 1, restarts: int = 0
    ) -> subprocess.CompletedProcess[str]:
        source = str(Path(__file__).parents[2] / "src")
        environment = {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
        # Else processes that are started again find addresses of the dead ones (pytorch #135712).
        environment["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
        command = [sys.executable]
        if processes > 1:
            launch = ("-m", "torch.distributed.run", "--standalone")
            command += [*launch, f"--nproc_per_node={processes}", f"--max-restarts={restarts}"]
        path = Path(arguments[0]).parent / "script.py"
        path.write_text(script + (LEAVE if processes > 1 else ""), encoding="utf-8")
        return subprocess.run(
            [*command, str(path), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )

    return run


@pytest.fixture
def run_apart(
    run_python: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> Callable[..., None]:
    """Run a verb that trains in a process of its own (or several), to its end or to a kill."""

    def run(
        verb: Callable[..., Any], table: dict[str, Any], *, dies_after: int = -1, processes: int = 1
    ) -> None:
        path = tmp_path / "settings.json"
        path.write_text(json.dumps(table), encoding="utf-8")
        done = run_python(APART, str(path), verb.__name__, str(dies_after), processes=processes)
        assert done.returncode == (-signal.SIGKILL if dies_after > 0 else 0), done.stderr[-3000:]

    return run

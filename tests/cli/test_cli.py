"""What holds for every verb: help, version, exit codes, errors, start-up."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from corom import __version__, capacity, cli
from corom.cli import rank
from corom.cli.progress import progress_bar
from corom.encoder import Progress, Side
from corom.engines.base import EngineName, Precision
from corom.errors import ArtifactError, FormatError, InputError
from corom.index import spec
from corom.models.config import Pooling
from corom.models.portable import Dtype
from corom.readers.lines import Encoding
from corom.sharding.spec import Container, ShardType
from corom.similarity import Score

VERBS = [command.name for command in cli.app.registered_commands]


def test_help_lists_every_verb_and_every_verb_has_its_own(run: Callable) -> None:
    page = run("--help")
    assert page.code == 0
    for verb in VERBS:
        assert verb in page.out
        found = run(verb, "--help")
        assert found.code == 0
        assert f"corom {verb}" in found.out
    assert "Usage" in run().out + run().err
    for shown in page, run("data", "--help"):
        assert "..." not in shown.out.partition("Commands:")[2]  # no line is cut


def test_version(run: Callable) -> None:
    assert run("--version") == (0, f"corom {__version__}\n", "")


@pytest.mark.parametrize(
    "arguments", [["no-such-verb"], ["rank"], ["rank", "a", "b", "--no-such-flag"]]
)
def test_wrong_usage_is_2_and_says_so(run: Callable, arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.code == 2
    assert done.out == ""
    assert "Error" in done.err


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("k is 0"), 2, "corom: k is 0\n"),
        (FormatError("is\nempty", path="a.txt", line=3), 2, "corom: a.txt, line 3: is empty\n"),
        (ArtifactError("x is corrupt"), 1, "corom: x is corrupt\n"),
        (PermissionError(13, "Permission denied", "/x"), 1, "corom: Permission denied: /x\n"),
        (OSError("odd"), 1, "corom: odd\n"),
        (MemoryError(), 1, "corom: there is not enough memory.\n"),
        (KeyboardInterrupt(), 130, "corom: stopped by Ctrl-C\n"),
    ],
)
def test_errors_are_one_line_and_an_exit_code(
    run: Callable, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, line: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(rank, "load_encoder", fail)
    assert run("rank", "头痛", "头疼") == (code, "", line)


def test_a_bug_is_not_hidden(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(rank, "load_encoder", fail)
    with pytest.raises(ZeroDivisionError):
        run("rank", "头痛", "头疼")


@pytest.mark.parametrize(
    ("verb", "flag", "known"),
    [
        ("encode", "engine", EngineName),
        ("encode", "precision", Precision),
        ("encode", "encoding", Encoding),
        ("encode", "side", Side),
        ("encode", "container", Container),
        ("encode", "store", ShardType),
        ("index", "scan", spec.Precision),
        ("index", "store", spec.VectorType),
        ("similarity", "score", Score),
        ("convert", "pooling", Pooling),
        ("convert", "dtype", Dtype),
        ("plan", "precision", capacity.Precision),
    ],
)
def test_a_flag_offers_what_the_library_takes(verb: str, flag: str, known: Any) -> None:
    """The command line has its own lists, so that its help loads nothing heavy."""
    offered = get_type_hints(cli._VERBS[verb])[flag]
    assert offered in (known, known | None)


def test_a_model_that_is_not_there(run: Callable, tmp_path: Path) -> None:
    done = run("rank", "头痛", "头疼", "--model", tmp_path / "none")
    assert done.code == 1
    assert str(tmp_path / "none") in done.err
    assert "头" not in done.err


HEAVY = (
    *("numpy", "torch", "openvino", "sklearn", "faiss", "tokenizers", "safetensors", "rich"),
    *("tantivy", "rjieba", "ir_measures", "matplotlib", "fastapi", "huggingface_hub"),
)


@pytest.mark.parametrize(
    "arguments", [["-c", "import corom"], ["-m", "corom", "--help"], ["-m", "corom", "--version"]]
)
def test_starting_is_quick_and_loads_nothing_heavy(arguments: list[str]) -> None:
    # Seconds of processor, not of the clock: the machine may be busy with other tests.
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-X", "importtime", *arguments]
    done = subprocess.run(command, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines()}
    assert "corom" in loaded
    assert not loaded & set(HEAVY)


def test_what_must_be_counted_is_counted_for_a_screen_only(monkeypatch) -> None:
    counted = []

    def total() -> int:
        counted.append(1)
        return 3

    with progress_bar(total) as meter:
        meter(Progress(3, 0, 6))
    assert (counted, meter.texts) == ([], 3)
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes standard error for a screen then
    with progress_bar(total) as meter:
        meter(Progress(1, 0, 2))
    assert counted == [1]


def test_sigterm_leaves_no_draft(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "corom", "split", "-", "--out", str(tmp_path / "parts.jsonl")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin
        deadline = time.monotonic() + 60
        while not list(tmp_path.iterdir()):
            process.stdin.write("头痛\n".encode() * 1000)
            assert time.monotonic() < deadline
            assert process.poll() is None
        process.terminate()
        assert process.communicate(timeout=60)[1] == b"corom: stopped by SIGTERM\n"
    assert process.returncode == 128 + signal.SIGTERM
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "command",
    [
        "rank 头痛 头疼 --json >&-",
        "plan --passages 1e6 >&- 2>&-",
        "rank 头痛 --file - <&-",
    ],
)
def test_streams_that_are_closed(command: str) -> None:
    shell = ["sh", "-c", f"exec {sys.executable} -m corom {command}"]
    done = subprocess.run(shell, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_the_screen_cannot_show_is_shown_by_its_number(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("头痛\U0001f600\n", encoding="utf-8")
    for more, shown in (([], "头痛\\U0001f600"), (["--json"], "\\ud83d\\ude00")):
        done = subprocess.run(
            [sys.executable, "-m", "corom", "rank", "头痛", "-f", tmp_path / "texts.txt", *more],
            env={**os.environ, "PYTHONIOENCODING": "gbk"},
            capture_output=True,
            check=True,
        )
        assert shown in done.stdout.decode("gbk")

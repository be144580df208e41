"""train, train two-stage, pretrain, mine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
QUICK = (
    *("--set", "run.device=cpu", "--set", "run.precision=fp32", "--set", "optimizer.max_steps=2"),
    *("--set", "optimizer.batch=4", "--set", "optimizer.learning_rate=1e-3"),
)
TEXTS = [
    ("糖尿病吃什么药", "患者要多休息，注意饮食"),
    ("高血压多久检查", "在家注意休息，要检查"),
    ("头痛发热吃药", "多休息，头痛要吃药"),
    ("消化道出血手术", "出血要手术治疗"),
    ("咳嗽多久治疗", "咳嗽要注意心肺"),
    ("胃肠检查饮食", "胃肠患者注意饮食"),
    ("肝肾检查手术", "肝肾要在家休息"),
    ("发热注意什么", "发热注意休息吃药"),
]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    lines = [json.dumps({"query": q, "positive": p}, ensure_ascii=False) for q, p in TEXTS]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "medical"
    folder.mkdir()
    for name, lines in {
        "corpus.tsv": [f"{n}\t{answer}" for n, (_, answer) in enumerate(TEXTS, 1)],
        "train.query.txt": [f"{n}\t{query}" for n, (query, _) in enumerate(TEXTS, 1)],
        "qrels.train.tsv": [f"{n}\t0\t{n}\t1" for n in range(1, 9)],
        "dev.query.txt": [f"{n}\t{TEXTS[n - 1][0]}" for n in (1, 2)],
        "qrels.dev.tsv": ["1\t0\t1\t1", "2\t0\t2\t1"],
    }.items():
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def settings(tmp_path: Path, model: Path, pairs: Path, data: Path) -> Path:
    path = tmp_path / "stage1.toml"
    path.write_text(
        f'model = "{model}"\noutput = "{tmp_path / "run"}"\n[data]\ntrain = ["{pairs}"]\n'
        f'[dev]\nfolder = "{data}"\nevery = 1\n[optimizer]\nbatch = 2\n',
        encoding="utf-8",
    )
    return path


@pytest.fixture
def recipe(tmp_path: Path, model: Path, data: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(
        f'model = "{model}"\noutput = "{tmp_path / "chain"}"\n'
        f'[stage1.data]\ntrain = ["{data}"]\nfill = "random"\n'
        "[stage1.optimizer]\nbatch = 4\nmax_steps = 2\n"
        '[stage1.run]\ndevice = "cpu"\nprecision = "fp32"\n[mine]\nnegatives = 2\n'
        f'[evaluate]\nfolder = "{data}"\nmeasures = ["MRR@10"]\nbm25 = false\n',
        encoding="utf-8",
    )
    return path


@pytest.mark.parametrize("verb", ["train", "train two-stage", "pretrain", "mine"])
def test_help_loads_nothing_heavy(verb: str) -> None:
    script = (
        "import sys\nfrom corom.cli import main\n"
        f"assert main([*{verb.split()!r}, '--help']) == 0\n"
        "assert not {'torch', 'accelerate', 'openvino', 'numpy'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"corom {verb}" in done.stdout


@pytest.mark.parametrize("missing", ["torch", "accelerate"])
@pytest.mark.parametrize("verb", ["train", "pretrain", "train two-stage"])
def test_a_missing_extra_is_named(
    run: Callable, monkeypatch: pytest.MonkeyPatch, settings: Path, verb: str, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    done = run(*verb.split(), settings)
    assert done.refuses(f"{missing} is not installed", code=1)
    assert "'corom[train]'" in done.err


@pytest.mark.torch
def test_a_file_of_settings_and_what_flags_change(
    run: Callable, settings: Path, tmp_path: Path
) -> None:
    pytest.importorskip("accelerate")
    other = tmp_path / "other"
    done = run("train", settings, "--output", other, *QUICK, "--json")
    assert done.code == 0, done.err
    assert not (tmp_path / "run").exists()
    found = json.loads(done.out)
    assert found["model"] == str(other / "model")
    assert found["steps"] == 2
    assert set(found["dev"]) == {"1", "2"}
    made = json.loads((other / "settings.json").read_text(encoding="utf-8"))["settings"]
    assert made["optimizer"]["batch"] == 4
    assert done.err.count("MRR@10") == 2
    assert "train 1/2  loss " in done.err
    assert "texts/s" in done.err

    again = run("train", settings, "--output", other, *QUICK)
    assert again.code == 0
    assert again.out.startswith(f"{other / 'model'}: 2 steps in ")
    assert f"MRR@10 {100 * found['final_dev']:.2f}" in again.out
    assert f"step {found['best_step']}" in again.err

    changed = run("train", settings, "--output", other, *QUICK, "--set", "run.seed=1")
    assert changed.refuses("other settings (run.seed)")


@pytest.mark.torch
def test_flags_alone_are_enough(
    run: Callable, model: Path, pairs: Path, data: Path, tmp_path: Path
) -> None:
    pytest.importorskip("accelerate")
    with pairs.open("a", encoding="utf-8") as file:
        file.write('{"query": "头痛"}\n')
    asked = ("train", "-m", model, "-d", pairs, "-d", data, "-o", tmp_path / "run", *QUICK)
    assert run(*asked).refuses("pairs.jsonl, line 9")
    done = run(*asked, "--output", tmp_path / "again", "--set", "data.bad_rows=skip")
    assert done.code == 0, done.err
    assert "left out of the data" in done.err
    assert "头痛" not in done.err


@pytest.mark.torch
@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--set", "optimizer.epoch=1"], "unknown setting optimizer.epoch; did you mean epochs?"),
        (["--set", "optimizer=1"], "the setting optimizer is 1; expected a table"),
        (["--set", "optimizer.epochs=many"], "optimizer.epochs is 'many'; expected a finite"),
        (["--set", "optimizer.epochs"], "'optimizer.epochs' sets nothing"),
        (["--set", "=1"], "'=1' sets nothing"),
        (["--data", "nowhere.jsonl"], "nowhere.jsonl does not exist"),
    ],
)
def test_what_is_asked_wrongly_is_refused(
    run: Callable, settings: Path, flags: list[str], said: str
) -> None:
    pytest.importorskip("accelerate")
    done = run("train", settings, *flags)
    assert done.refuses(said)
    assert done.out == ""


@pytest.mark.torch
def test_without_anything_the_first_missing_setting_is_named(run: Callable) -> None:
    pytest.importorskip("accelerate")
    assert "the setting model is missing" in run("train").err
    assert "the setting model is missing" in run("pretrain").err


def test_mining_adds_negatives_and_says_what_it_dropped(
    run: Callable, model: Path, pairs: Path, tmp_path: Path
) -> None:
    settings = tmp_path / "mine.toml"
    settings.write_text(f'model = "{model}"\ndata = ["{pairs}"]\nnegatives = 2\n', encoding="utf-8")
    out = ("--output", tmp_path / "mined", "--set", "relative_margin=none")
    done = run("mine", settings, *out)
    assert done.code == 0, done.err
    assert done.out == f"{tmp_path / 'mined' / 'pairs.jsonl'}\n"
    assert "16 negatives for 8 records, 0 without" in done.err
    assert "dropped: known positive 8" in done.err
    found = json.loads(run("mine", settings, *out, "--json").out)
    assert found["negatives"] == 16
    assert found["passages"] == 8
    lines = (tmp_path / "mined" / "pairs.jsonl").read_text(encoding="utf-8").splitlines()
    assert all(len(json.loads(line)["negatives"]) == 2 for line in lines)
    assert "expected 'dense' or 'bm25'" in run("mine", settings, *out, "--set", "source=x").err


def test_random_mining_needs_no_model(run: Callable, pairs: Path, tmp_path: Path) -> None:
    asked = ("--data", pairs, "--output", tmp_path / "mined")
    assert "dense mining needs a model" in run("mine", *asked).err
    done = run("mine", *asked, "--source", "random")
    assert done.code == 0, done.err


def test_of_several_processes_the_first_mines(
    run: Callable, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    asked = ("mine", "--data", str(pairs), "--source", "random", "--output", str(tmp_path / "out"))
    assert run(*asked).code == 0
    assert not (tmp_path / "out").exists()


@pytest.mark.torch
def test_pre_training(run: Callable, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(q + "，" + p for q, p in TEXTS) + "\n", encoding="utf-8")
    asked = ("pretrain", "-m", model, "--texts", texts, "-o", tmp_path / "pre", *QUICK)
    done = run(*asked, "--set", "shortest_span=3")
    assert done.code == 0, done.err
    assert done.out.startswith(f"{tmp_path / 'pre' / 'model'}: 2 steps in ")


@pytest.mark.torch
def test_two_stages(run: Callable, recipe: Path, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    done = run("train", "two-stage", recipe, "--set", "stage2.optimizer.max_steps=1")
    assert done.code == 0, done.err
    chain = tmp_path / "chain"
    assert done.out.splitlines()[-1] == str(chain / "3-stage2" / "model")
    assert "| 3-stage2 |" in done.out
    assert json.loads((chain / "3-stage2" / "result.json").read_text())["steps"] == 1
    again = run("train", "two-stage", recipe, "--set", "stage2.optimizer.max_steps=1", "--json")
    assert json.loads(again.out)["model"] == str(chain / "3-stage2" / "model")
    assert run("train", "two-stage", recipe, "--set", "stage3.a=1").code == 2


@pytest.mark.torch
@pytest.mark.parametrize("seed", [0, -1])
def test_of_several_processes_one_speaks(settings: Path, tmp_path: Path, seed: int) -> None:
    pytest.importorskip("accelerate")
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "corom"]
    done = subprocess.run(
        [sys.executable, *launch, "train", str(settings), *QUICK, "--set", f"run.seed={seed}"],
        env={**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if seed < 0:
        assert done.returncode
        assert done.stderr.count("corom: run.seed is -1; it must be a whole number") == 1
        return
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(f"{tmp_path / 'run' / 'model'}: 2 steps") == 1
    assert done.stderr.count("train 2/2") == 1


def test_a_model_that_reads_less_than_before_is_said(
    run: Callable, model: Path, pairs: Path, tmp_path: Path
) -> None:
    asked = ("train", "--model", model, "--data", pairs, *QUICK)
    short = ("--set", "data.query_length=16", "--set", "data.passage_length=32")
    done = run(*asked, "--output", tmp_path / "short", *short)
    assert done.code == 0, done.err
    assert "the model reads 32 tokens, the one it began from 128" in done.err
    done = run(*asked, "--output", tmp_path / "whole")
    assert (done.code, "the one it began from" in done.err) == (0, False)

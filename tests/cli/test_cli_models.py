"""convert, average, download and doctor."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from corom.encoder import Encoder
from corom.engines import compression
from corom.engines.native_engine import drawback
from corom.files import check_manifest


def same_vectors(one: Path, other: Path, *, precision: str = "fp32") -> None:
    first, second = (
        Encoder.load(folder, precision=precision).encode_passages(["头痛", "糖尿病饮食"])  # type: ignore[arg-type]
        for folder in (one, other)
    )
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_convert_writes_a_portable_folder(run: Callable, model: Path, tmp_path: Path) -> None:
    done = run("convert", model, tmp_path / "new", "--json")
    assert done.code == 0
    assert json.loads(done.out)["folder"] == str(tmp_path / "new")
    check_manifest(tmp_path / "new")
    same_vectors(model, tmp_path / "new")
    assert run("convert", model, tmp_path / "new").refuses("exists already", code=1)
    half = run("convert", model, tmp_path / "half", "--dtype", "float16")
    assert "2 layers of 32" in half.out
    weights = load_file(tmp_path / "half" / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {np.dtype(np.float16)}


def test_convert_states_what_the_folder_does_not(
    run: Callable, model: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new"
    options = ("--pooling", "avg", "--normalize", "--max-length", 64)
    prefixes = ("--query-prefix", "问：", "--passage-prefix", "答：")
    done = run("convert", model, new, *options, *prefixes)
    told = "avg, unit length, at most 64 tokens, '问：' before queries, '答：' before passages"
    assert done.out == f"{new}: 2 layers of 32, {told}\n"
    configuration = json.loads((new / "configuration.json").read_text(encoding="utf-8"))
    assert configuration["preprocessor"]["boq"] == "问："
    again = run("convert", new, tmp_path / "again", "--no-normalize", "--query-prefix", "")
    told = "avg, raw length, at most 64 tokens, '答：' before passages"
    assert again.out == f"{tmp_path / 'again'}: 2 layers of 32, {told}\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--pooling", "max"), "max"),
        (("--max-length", "513"), "max_length is 513; it must be a whole number from 2 to 512"),
        (("--max-length", "1"), "max_length is 1; it must be a whole number from 2 to 512"),
    ],
)
def test_convert_refuses_what_no_folder_may_state(
    run: Callable, model: Path, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    assert run("convert", model, tmp_path / "new", *options).refuses(said)
    assert not (tmp_path / "new").exists()


def test_convert_and_doctor_name_a_dense(
    run: Callable, tiny_dense: Callable, tmp_path: Path
) -> None:
    dense = tiny_dense().folder
    said = "2 layers of 32, a Dense to 48"
    assert f"{said}, cls" in run("convert", dense, tmp_path / "new").out
    assert said in run("doctor", "-m", tmp_path / "new").out
    same_vectors(dense, tmp_path / "new")


def test_average_is_the_weighted_mean_of_models(
    run: Callable, tiny_checkpoint: Callable, tmp_path: Path
) -> None:
    models = [tiny_checkpoint(seed=seed, name=f"m{seed}").folder for seed in (1, 2)]
    done = run("average", *models, "--shares", "0.25,0.75", "--out", tmp_path / "mean")
    assert (done.code, done.out) == (0, f"{tmp_path / 'mean'}\n")
    one, other, mean = (load_file(f / "model.safetensors") for f in (*models, tmp_path / "mean"))
    for name, array in mean.items():
        np.testing.assert_allclose(array, 0.25 * one[name] + 0.75 * other[name], atol=1e-6)
    check_manifest(tmp_path / "mean")
    alike = run("average", models[0], models[0], "--out", tmp_path / "alike", "--json")
    assert json.loads(alike.out)["folder"] == str(tmp_path / "alike")
    same_vectors(models[0], tmp_path / "alike")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--shares", "1,much"), "no list of numbers"),
        (("--shares", "1"), "1 shares for 2 models"),
        (("--shares", "1,-1"), "not negative"),
        (("--shares", "1,nan"), "finite"),
    ],
)
def test_average_refuses_what_cannot_be(
    run: Callable, model: Path, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    assert run("average", model, model, *options, "--out", tmp_path / "new").refuses(said)
    assert not (tmp_path / "new").exists()


def test_convert_to_int8_says_how_faithful_it_is(
    run: Callable, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(f"糖尿病饮食{n}头痛" for n in range(50)), encoding="utf-8")
    new = tmp_path / "new"
    options = ("--precision", "int8", "--calibrate", texts)
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes standard error for a screen then
    done = run("convert", model, new, *options)
    assert done.code == 0
    assert "int8: encoder.layer." in done.err
    assert "int8 keeps" in done.err
    assert "on 25 held-out texts" in done.err
    check_manifest(new)
    assert Encoder.load(new, precision="int8").precision == "int8"
    same_vectors(model, new)
    assert list(tmp_path.glob(".*")) == []
    texts.write_text("a\nb\n")
    assert run("convert", model, tmp_path / "few", *options).code == 2
    assert not (tmp_path / "few").exists()


def test_texts_to_calibrate_with_are_from_the_whole_file(
    run: Callable, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[str] = []
    convert_to_int8 = compression.convert_to_int8
    monkeypatch.setattr(
        compression,
        "convert_to_int8",
        lambda *folders, texts, **rest: convert_to_int8(
            *folders, texts=given.extend(texts) or texts, **rest
        ),
    )
    monkeypatch.setattr("corom.cli.convert._MOST_TEXTS", 40)
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(f"糖尿病{n}" for n in range(79)), encoding="utf-8")
    options = ("--precision", "int8", "--calibrate", texts)
    assert run("convert", model, tmp_path / "new", *options).code == 0
    assert (len(given), given[0], given[-1]) == (40, "糖尿病0", "糖尿病77")


@pytest.mark.torch
def test_convert_in_place_makes_a_bin_usable_by_its_name(
    run: Callable, model: Path, tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    folder = tmp_path / "hub" / "models" / "damo" / "tiny"
    shutil.copytree(model, folder)
    (folder / "model.safetensors").unlink()
    weights = load_file(model / "model.safetensors")
    state = {f"bert.{name}": torch.from_numpy(weight) for name, weight in weights.items()}
    torch.save(state, folder / "pytorch_model.bin")
    assert "corom convert" in run("rank", "头痛", "头疼", "-m", folder).err
    assert run("convert", folder).code == 0
    same_vectors(model, folder)
    assert run("convert", folder).refuses("safetensors already", code=1)


def test_convert_refuses_what_does_not_go_together(
    run: Callable, model: Path, tmp_path: Path
) -> None:
    assert run("convert", model, tmp_path / "x", "--calibrate", "-").code == 2
    for options in (("--precision", "int8"), ("--normalize",), ("--query-prefix", "")):
        assert run("convert", model, *options).refuses("name the folder OUT")
    assert run("convert", tmp_path / "none", tmp_path / "x").code == 1


def test_download_of_what_is_there_and_of_what_may_not_be_asked_for(
    run: Callable, model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert run("download", model).out == f"{model}\n"
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path))
    monkeypatch.setenv("COROM_OFFLINE", "1")
    done = run("download", "damo/nlp_corom_sentence-embedding_chinese-base-medical", "--json")
    assert done.refuses("COROM_OFFLINE", code=1)
    assert run("download", "no model").code == 2


def test_doctor_finds_everything_in_order(run: Callable, model: Path) -> None:
    done = run("doctor", "-m", model)
    assert done.code == 0
    assert "2 layers of 32" in done.out
    assert done.out.endswith("everything is in order\n")
    facts = json.loads(run("doctor", "-m", model, "--json").out)
    assert facts["sound"] is True
    assert facts["model"]["fingerprint"] in done.out
    assert {"numpy", "openvino"} <= set(facts["packages"])
    assert facts["chip"]["int8"] == (
        f"openvino: {reason}" if (reason := drawback()) else "corom's own kernels"
    )


@pytest.mark.parametrize("damage", ["flipped", "missing"])
def test_doctor_names_the_file_that_is_broken(
    run: Callable, model: Path, tmp_path: Path, damage: str
) -> None:
    folder = tmp_path / "portable"
    assert run("convert", model, folder).code == 0
    weights = folder / "model.safetensors"
    if damage == "missing":
        weights.unlink()
    else:
        data = bytearray(weights.read_bytes())
        data[-5] ^= 1
        weights.write_bytes(data)
    done = run("doctor", "-m", folder)
    assert done.code == 1
    assert f"problem: {weights}" in done.out
    assert json.loads(run("doctor", "-m", folder, "--json").out)["sound"] is False


def test_doctor_looks_at_the_embedded_model_and_downloads_nothing(
    run: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "everything is in order" in run("doctor").out
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path))
    done = run("doctor", "-m", "damo/some_model")
    assert done.code == 1
    assert "problem" in done.out

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
from safetensors import safe_open
from tokenizers import Tokenizer

from corom.errors import ArtifactError, InputError
from corom.models.checkpoint import load_checkpoint
from corom.models.config import Encoding
from corom.models.portable import Portable, is_expressible, write_portable
from models.numpy_bert import embed

TEXTS = ["上消化道出血手术大约多久", "CT/MRI 1a2b ①é", ""]
SENTENCE_TRANSFORMERS = {
    *("modules.json", "1_Pooling", "sentence_bert_config.json"),
    "config_sentence_transformers.json",
}
ALWAYS = {
    *("model.safetensors", "config.json", "configuration.json", "tokenizer.json", "vocab.txt"),
    *("tokenizer_config.json", "special_tokens_map.json", "README.md", "manifest.json"),
}


def portable(checkpoint, **changes):
    made = Portable(
        checkpoint.shape,
        checkpoint.encoding,
        checkpoint.load_weights(),
        checkpoint.tokenizer_json,
    )
    return made._replace(**changes)


def write(checkpoint, target, *, card=None, dtype="float32", **changes):
    write_portable(target, portable(checkpoint, **changes), card=card, dtype=dtype)
    return load_checkpoint(target)


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "encoding",
    [
        Encoding(),
        Encoding(pooling="avg", normalize=True, max_length=2, query_prefix="问：\n"),
        Encoding(pooling="avg_top2", max_length=512),
        Encoding(pooling="avg_first_last", passage_prefix="a1"),
        Encoding(query_suffix="。", passage_suffix="，"),
    ],
)
def test_what_is_written_is_read_back_the_same(tiny_checkpoint, tmp_path, encoding):
    before = replace(tiny_checkpoint(), encoding=encoding)
    after = write(before, tmp_path / "out")
    assert after.encoding == encoding
    assert after.shape == before.shape
    assert json.loads(after.tokenizer_json) == json.loads(before.tokenizer_json)
    np.testing.assert_array_equal(embed(after, TEXTS), embed(before, TEXTS))


def test_the_folder_holds_every_librarys_files(tiny_checkpoint, tmp_path):
    checkpoint = tiny_checkpoint(normalize=True, query_prefix="问：")
    folder = write(checkpoint, tmp_path / "out").folder
    assert {path.name for path in folder.iterdir()} == ALWAYS | SENTENCE_TRANSFORMERS
    types = [(module["path"], module["type"]) for module in read(folder / "modules.json")]
    assert types == [
        ("", "sentence_transformers.models.Transformer"),
        ("1_Pooling", "sentence_transformers.models.Pooling"),
        ("2_Normalize", "sentence_transformers.models.Normalize"),
    ]
    pooling = read(folder / "1_Pooling" / "config.json")
    assert pooling["word_embedding_dimension"] == 32
    assert "embedding_dimension" not in pooling  # sentence-transformers 3.4 and 5.3 refuse it
    assert [key for key, value in pooling.items() if value is True] == ["pooling_mode_cls_token"]
    assert pooling["pooling_mode"] == "cls"
    assert read(folder / "config_sentence_transformers.json")["prompts"]["query"] == "问："
    with safe_open(folder / "model.safetensors", framework="numpy") as file:
        assert file.metadata() == {"format": "pt"}
        assert set(file.keys()) == set(checkpoint.shape.weight_shapes())
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokens = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]
    assert tokens == [tokenizer.id_to_token(i) for i in range(len(tokens))]
    assert read(folder / "tokenizer_config.json")["do_lower_case"] is True
    assert read(folder / "special_tokens_map.json")["mask_token"] == "[MASK]"  # noqa: S105


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_a_dense_is_written_as_sentence_transformers_reads_it(tiny_dense, normalize, bias):
    folder = tiny_dense(normalize=normalize, bias=bias, tanh=bias).folder
    others = {"3_Normalize"} if normalize else set()
    files = {path.name for path in folder.iterdir()}
    # ModelScope would give other vectors, so it finds no configuration.json.
    assert files == (ALWAYS | SENTENCE_TRANSFORMERS | {"2_Dense"}) - {"configuration.json"}
    types = [(module["path"], module["type"]) for module in read(folder / "modules.json")]
    assert types[2] == ("2_Dense", "sentence_transformers.models.Dense")
    assert {path for path, _ in types[3:]} == others
    activation = "activation.Tanh" if bias else "linear.Identity"
    assert read(folder / "2_Dense" / "config.json") == {
        "in_features": 32,
        "out_features": 48,
        "bias": bias,
        "activation_function": f"torch.nn.modules.{activation}",
    }
    with safe_open(folder / "2_Dense" / "model.safetensors", framework="numpy") as file:
        assert set(file.keys()) == {"linear.weight", *(["linear.bias"] if bias else [])}


@pytest.mark.parametrize("change", [{"pooling": "avg_top2"}, {"passage_suffix": "。"}])
def test_a_dense_that_no_library_could_read_is_refused(tiny_dense, tmp_path, change):
    checkpoint = tiny_dense()
    encoding = replace(checkpoint.encoding, **change)
    with pytest.raises(ArtifactError, match="no layout has a Dense together with a suffix or pool"):
        write(checkpoint, tmp_path / "out", encoding=encoding, dense=checkpoint.dense)
    assert not (tmp_path / "out").exists()
    made = write(checkpoint, tmp_path / "card", dense=checkpoint.dense)
    assert "48 dimensions" in (made.folder / "README.md").read_text()


@pytest.mark.parametrize(
    "encoding",
    [Encoding(pooling="avg_top2"), Encoding(pooling="avg_first_last"), Encoding(query_suffix="。")],
)
def test_what_sentence_transformers_cannot_do_gets_none_of_its_files(
    tiny_checkpoint, tmp_path, encoding
):
    assert not is_expressible(encoding)
    folder = write(tiny_checkpoint(), tmp_path / "out", encoding=encoding).folder
    assert {path.name for path in folder.iterdir()} == ALWAYS
    assert "sentence-transformers" not in (folder / "README.md").read_text()
    states = read(folder / "config.json").get("output_hidden_states")
    assert states is (None if encoding.pooling == "cls" else True)


def test_float16_halves_the_file_and_says_so_nowhere_else(tiny_checkpoint, tmp_path):
    checkpoint = tiny_checkpoint()
    half = write(checkpoint, tmp_path / "half", dtype="float16")
    full = write(checkpoint, tmp_path / "full")
    sizes = [(c.folder / "model.safetensors").stat().st_size for c in (half, full)]
    assert sizes[0] < 0.6 * sizes[1]
    for name, weight in half.load_weights().items():
        expected = checkpoint.load_weights()[name].astype(np.float16).astype(np.float32)
        np.testing.assert_array_equal(weight, expected)
    assert read(half.folder / "config.json") == read(full.folder / "config.json")


def test_too_large_for_float16_is_refused_by_name(tiny_checkpoint, tmp_path):
    weights = tiny_checkpoint().load_weights()
    name = "encoder.layer.0.output.dense.bias"
    weights[name][0] = 70_000
    with pytest.raises(ArtifactError, match=rf"{name} has values too large for float16"):
        write(tiny_checkpoint(name="b"), tmp_path / "out", weights=weights, dtype="float16")
    assert not (tmp_path / "out").exists()


def test_a_card_is_kept_and_one_is_made(tiny_checkpoint, tmp_path):
    checkpoint = tiny_checkpoint()
    own = write(checkpoint, tmp_path / "own", card="# 卡片\n")
    assert (own.folder / "README.md").read_text(encoding="utf-8") == "# 卡片\n"
    made = write(checkpoint, tmp_path / "made").folder / "README.md"
    assert made.read_text(encoding="utf-8").startswith("---\nlanguage: zh\n")


def test_wrong_inputs_are_refused_and_leave_nothing(tiny_checkpoint, tmp_path):
    checkpoint, target = tiny_checkpoint(), tmp_path / "out"
    weights = checkpoint.load_weights()
    with pytest.raises(InputError, match="dtype 'int8' is none of float32, float16"):
        write(checkpoint, target, dtype="int8")
    lacking = {name: weights[name] for name in weights if name != "embeddings.LayerNorm.bias"}
    with pytest.raises(ArtifactError, match=r"lacks embeddings\.LayerNorm\.bias"):
        write(checkpoint, target, weights=lacking)
    foreign = checkpoint.tokenizer_json.replace("BertNormalizer", "NFKC")
    with pytest.raises(ArtifactError, match="the tokenizer's normalizer is NFKC"):
        write(checkpoint, target, tokenizer_json=foreign)
    assert not target.exists()
    target.mkdir()
    (target / "mine").write_text("keep")
    with pytest.raises(ArtifactError, match="out exists already"):
        write(checkpoint, target)
    assert [path.name for path in target.iterdir()] == ["mine"]


KILLED = """
import json, os, sys
from pathlib import Path
from corom import files
from corom.models.checkpoint import load_checkpoint
from corom.models.portable import Portable, write_portable

files.write_manifest = lambda folder: os.kill(os.getpid(), 9)
c = load_checkpoint(Path(sys.argv[1]))
model = Portable(c.shape, c.encoding, c.load_weights(), c.tokenizer_json)
write_portable(Path(sys.argv[2]), model)
"""


def test_a_killed_writer_leaves_no_folder_of_that_name(tiny_checkpoint, tmp_path):
    checkpoint, target = tiny_checkpoint(), tmp_path / "out"
    command = [sys.executable, "-c", KILLED, checkpoint.folder, target]
    result = subprocess.run(command, env=os.environ, timeout=60, check=False)
    assert result.returncode == -9
    assert not target.exists()
    assert write(checkpoint, target).encoding == checkpoint.encoding


def test_the_same_checkpoint_gives_the_same_files(tiny_checkpoint, tmp_path):
    checkpoint = tiny_checkpoint()
    manifests = [
        (write(checkpoint, tmp_path / name, card="x").folder / "manifest.json").read_bytes()
        for name in ("one", "two")
    ]
    assert manifests[0] == manifests[1]
    assert asdict(checkpoint.encoding) == asdict(load_checkpoint(tmp_path / "one").encoding)


def test_others_may_read_a_folder_as_the_umask_says(tiny_checkpoint, tmp_path):
    before = os.umask(0o027)
    try:
        folder = write(tiny_checkpoint(), tmp_path / "out").folder
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()}
    assert modes["model.safetensors"] == 0o640
    assert set(modes.values()) == {0o640}

import errno
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from corom.encoder import Encoder
from corom.engines import compression, loading
from corom.engines.compression import bundled_texts, compress, convert_to_int8, measure
from corom.engines.loading import cached_int8
from corom.errors import ArtifactError, InputError
from corom.files import atomic_folder
from corom.models.checkpoint import load_checkpoint
from corom.models.head import Head
from corom.models.int8 import read_fidelity, read_int8, restored_weights, save_int8
from corom.vectors import cosines

CALIBRATION, HELD_OUT = bundled_texts()


@pytest.fixture
def made(tiny_checkpoint, request):
    checkpoint = tiny_checkpoint(pooling=getattr(request, "param", "cls"))
    return checkpoint, compress(checkpoint, calibration=CALIBRATION[:60], held_out=HELD_OUT[:40])


@pytest.mark.parametrize("made", ["cls", "avg"], indirect=True)
def test_the_int8_form_is_close_and_says_how_close(made, tmp_path):
    checkpoint, int8 = made
    assert int8.fidelity.texts == 40
    assert int8.fidelity.mean_cosine > 0.98
    save_int8(checkpoint.folder / "model.int8.safetensors", int8)
    exact = Encoder(checkpoint, precision="fp32").encode_passages(HELD_OUT[:40])
    quick = Encoder(checkpoint, precision="int8").encode_passages(HELD_OUT[:40])
    found = cosines(exact, quick)
    assert found.mean() == pytest.approx(int8.fidelity.mean_cosine, abs=1e-6)
    assert read_fidelity(checkpoint.int8_file) == int8.fidelity


def test_cls_keeps_the_last_layer_and_avg_does_not(tiny_checkpoint):
    for pooling, layers in (("cls", {"0"}), ("avg", {"0", "1"})):
        int8 = compress(
            tiny_checkpoint(pooling=pooling, name=pooling),
            calibration=CALIBRATION[:20],
            held_out=HELD_OUT[:20],
        )
        assert {name.split(".")[2] for name in int8.linears} == layers


def test_weights_come_back_to_the_grid(made):
    checkpoint, int8 = made
    restored = restored_weights(int8)
    for name, exact in checkpoint.load_weights().items():
        assert restored[name].shape == exact.shape
        assert restored[name].dtype == np.float32
        # Biases also took over what rounding leaves on average.
        step = np.abs(exact).max() / (5 if name.endswith("dense.bias") else 20)
        np.testing.assert_allclose(restored[name], exact, atol=step, err_msg=name)


def test_making_it_twice_gives_the_same(made):
    checkpoint, int8 = made
    again = compress(checkpoint, calibration=CALIBRATION[:60], held_out=HELD_OUT[:40])
    for name, linear in int8.linears.items():
        for one, other in zip(linear, again.linears[name], strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("count", [0, 1, 19])
def test_too_few_texts_are_refused(tiny_checkpoint, count):
    with pytest.raises(InputError, match=f"at least 20 texts, got {count}"):
        compress(tiny_checkpoint(), calibration=CALIBRATION[:count], held_out=HELD_OUT)


def test_a_broken_int8_file_is_refused_by_name(made, tmp_path, tiny_shape):
    _, int8 = made
    path = tmp_path / "model.int8.safetensors"
    save_int8(path, int8)
    assert read_int8(path, shape=tiny_shape).source_sha256 == int8.source_sha256
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with pytest.raises(ArtifactError, match=r"model\.int8\.safetensors"):
        read_int8(path, shape=tiny_shape)
    path.write_bytes(whole.replace(b"corom-int8-1", b"corom-int8-9"))
    with pytest.raises(ArtifactError, match="corom-int8-9"):
        read_int8(path, shape=tiny_shape)
    path.write_bytes(whole)
    with pytest.raises(ArtifactError, match="should have"):
        read_int8(path, shape=type(tiny_shape)(**{**vars(tiny_shape), "intermediate": 128}))


def test_the_form_made_on_first_use_is_kept_and_checked(tiny_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("COROM_CACHE", str(tmp_path / "cache"))
    checkpoint = tiny_checkpoint()
    with pytest.warns(UserWarning, match="calibrate on your own text"):
        first = Encoder(checkpoint, precision="int8").encode_queries(["头痛"])
    np.testing.assert_array_equal(
        first, Encoder(checkpoint, precision="int8").encode_queries(["头痛"])
    )
    file = next((tmp_path / "cache").rglob("*.safetensors"))
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.warns(UserWarning) as warned:  # noqa: PT030 - of two the first is looked at
        again = Encoder(checkpoint, precision="int8").encode_queries(["头痛"])
    assert "model.int8.safetensors is corrupt" in str(warned[0].message)
    assert "made anew" in str(warned[0].message)
    np.testing.assert_array_equal(first, again)


def test_where_the_form_cannot_be_kept_is_said_before_it_is_made(
    tiny_checkpoint, tmp_path, monkeypatch
):
    (tmp_path / "file").touch()
    monkeypatch.setenv("COROM_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(compression, "compress", None)
    with pytest.raises(ArtifactError, match="set COROM_CACHE to a folder"):
        Encoder(tiny_checkpoint(), precision="int8")


@pytest.mark.filterwarnings("ignore:tiny")
def test_a_form_that_a_full_disk_cannot_keep_is_used(made, tmp_path, monkeypatch):
    checkpoint, int8 = made
    monkeypatch.setenv("COROM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(compression, "compress", lambda *_args, **_options: int8)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(loading, "save_int8", full)
    with pytest.warns(UserWarning, match="not kept for the next time.*No space left"):
        assert Encoder(checkpoint, precision="int8").encode_passages(["头痛"]).shape == (1, 32)
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_a_form_of_other_weights_is_not_taken(made, tmp_path):
    checkpoint, int8 = made
    folder = shutil.copytree(checkpoint.folder, tmp_path / "changed")
    (folder / "manifest.json").unlink(missing_ok=True)
    save_int8(folder / "model.int8.safetensors", int8)
    assert load_checkpoint(folder).read_int8().source_sha256 == int8.source_sha256
    weights = load_file(folder / "model.safetensors")
    save_file({name: tensor * 2 for name, tensor in weights.items()}, folder / "model.safetensors")
    with pytest.raises(ArtifactError, match="made from other weights than those beside it"):
        load_checkpoint(folder).read_int8()


def test_a_folder_that_another_made_meanwhile_stays(made, tmp_path, monkeypatch):
    checkpoint, int8 = made
    target = tmp_path / "new"

    def slow(*_args, **_options):
        target.mkdir()
        (target / "theirs").touch()
        return int8

    monkeypatch.setattr(compression, "compress", slow)
    with pytest.raises(ArtifactError, match="new was made by another process meanwhile"):
        convert_to_int8(checkpoint.folder, target)
    assert [path.name for path in target.iterdir()] == ["theirs"]
    assert not list(tmp_path.glob(".*"))


def test_fidelity_of_the_same_is_whole():
    vectors = np.random.default_rng(0).normal(size=(30, 8)).astype(np.float32)
    same, other = measure(vectors, vectors), measure(vectors, vectors[::-1].copy())
    assert same.passed()
    assert same.top10_overlap == 1
    assert not other.passed()
    assert "calibrate" in other.advice()
    assert "calibrate" not in same.advice()


def test_of_a_reranker_the_order_by_scores_counts():
    rng = np.random.default_rng(0)
    parts = ((8, 8), (8,), (1, 8), (1,))
    head = Head(*(rng.normal(size=shape).astype(np.float32) for shape in parts))
    vectors = rng.normal(size=(900, 8)).astype(np.float32)  # of every pair of thirty texts
    assert measure(vectors, vectors, head=head).top10_overlap == 1
    found = measure(vectors, rng.normal(size=(900, 8)).astype(np.float32), head=head)
    assert 0.2 < found.top10_overlap < 0.5  # by chance 10 of 29
    assert found.texts == 900


@pytest.mark.filterwarnings("ignore:tiny")
def test_a_form_that_another_process_keeps_meanwhile_is_used(made, tmp_path, monkeypatch):
    checkpoint, int8 = made
    monkeypatch.setenv("COROM_CACHE", str(tmp_path / "cache"))
    kept = cached_int8(checkpoint) / "model.int8.safetensors"

    def slow(*_args, **_options):
        with atomic_folder(kept.parent) as draft:
            save_int8(draft / kept.name, int8)
        return int8

    monkeypatch.setattr(compression, "compress", slow)
    first = Encoder(checkpoint, precision="int8").encode_passages(HELD_OUT[:5])
    before = kept.read_bytes()
    again = Encoder(checkpoint, precision="int8").encode_passages(HELD_OUT[:5])
    np.testing.assert_array_equal(first, again)
    assert kept.read_bytes() == before

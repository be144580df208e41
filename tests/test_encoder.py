from contextlib import nullcontext

import numpy as np
import pytest

from corom.encoder import Encoder, Progress
from corom.engines.compression import bundled_texts
from corom.errors import ArtifactError, InputError
from corom.tokens import batches

TEXTS = [
    "头痛发热吃什么药",
    "",
    "糖尿病",
    "头痛发热吃什么药",
    "ct mri abc",
    "高血压" * 200,
    "\ud800头",
    "\x00\x07",
]


@pytest.fixture(params=["openvino", "torch"])
def encoder(request, tiny_checkpoint):
    if request.param == "torch":
        pytest.importorskip("torch")
    return Encoder(tiny_checkpoint(), engine=request.param, precision="fp32")


def test_one_vector_per_text_and_the_same_for_the_same_text(encoder):
    vectors = encoder.encode_passages(TEXTS)
    assert vectors.shape == (8, encoder.dim)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(vectors[0], vectors[3], atol=1e-5)


def test_no_texts_give_no_vectors(encoder):
    vectors = encoder.encode_queries([])
    assert vectors.shape == (0, encoder.dim)
    assert vectors.dtype == np.float32


@pytest.mark.filterwarnings("ignore:this chip does not multiply bf16")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_neighbours_do_not_change_a_vector(tiny_checkpoint, precision, tmp_path, monkeypatch):
    monkeypatch.setenv("COROM_CACHE", str(tmp_path / "cache"))
    with pytest.warns() if precision == "int8" else nullcontext():
        encoder = Encoder(tiny_checkpoint(), precision=precision)
    texts = bundled_texts()[0][:60] + ["头" * n for n in range(1, 60)]
    together = encoder.encode_passages(texts)
    alone = np.concatenate([encoder.encode_passages([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_passages(texts[::-1])[::-1], together, atol=1e-5)


def test_a_stream_reads_as_it_goes_and_gives_the_same(encoder):
    read = []

    def texts():
        for text in TEXTS:
            read.append(text)
            yield text

    stream = encoder.stream_passages(texts(), chunk=3)
    first = next(stream)
    assert len(read) <= 4
    rest = np.concatenate([first, *stream])
    np.testing.assert_allclose(rest, encoder.encode_passages(TEXTS), atol=1e-5)


def test_progress_ends_with_everything_counted(encoder):
    seen = []
    encoder.encode_passages(TEXTS, progress=seen.append)
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert seen[-1] == Progress(8, 1, sum(encoder.count_tokens(TEXTS)))


def test_options_change_what_they_say(encoder):
    raw = encoder.encode_queries(TEXTS)
    unit = encoder.encode_queries(TEXTS, normalize=True)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(unit, raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=1e-5)
    short = encoder.encode_queries(TEXTS, truncate_dim=5, normalize=True)
    assert short.shape == (8, 5)
    np.testing.assert_allclose(np.linalg.norm(short, axis=1), 1, atol=1e-5)


def test_queries_and_passages_get_their_own_prefix(tiny_checkpoint):
    encoder = Encoder(tiny_checkpoint(query_prefix="治疗", passage_prefix="饮食"), precision="fp32")
    plain = Encoder(tiny_checkpoint(name="plain"), precision="fp32")
    np.testing.assert_allclose(
        encoder.encode_queries(["头痛"]), plain.encode_queries(["治疗头痛"]), atol=1e-6
    )
    np.testing.assert_allclose(
        encoder.encode_passages(["头痛"]), plain.encode_passages(["饮食头痛"]), atol=1e-6
    )


def test_another_length_is_another_fingerprint(tiny_checkpoint):
    checkpoint = tiny_checkpoint()
    own, shorter = Encoder(checkpoint), Encoder(checkpoint, max_length=8)
    assert (
        own.fingerprint == Encoder(checkpoint, max_length=128).fingerprint == checkpoint.fingerprint
    )
    assert shorter.fingerprint != own.fingerprint
    assert shorter.count_tokens(["头痛" * 20]) == [8]


@pytest.mark.parametrize("texts", ["头痛", None, 3, ["头痛", None], [b"x"]])
def test_wrong_texts_are_refused(encoder, texts):
    with pytest.raises(InputError):
        encoder.encode_passages(texts)
    with pytest.raises(InputError):
        encoder.encode_queries(texts)
    with pytest.raises(InputError):
        encoder.count_tokens(texts)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "onnx"}, "engine 'onnx'"),
        ({"precision": "int4"}, "precision 'int4'"),
        ({"engine": "openvino", "precision": "fp16"}, "fp16"),
        ({"engine": "openvino", "device": "cuda"}, "cuda"),
        ({"max_length": 1}, "max_length"),
        ({"max_length": 513}, "max_length"),
        ({"max_length": "8"}, "max_length"),
        ({"threads": 0}, "threads"),
    ],
)
def test_wrong_options_are_refused(tiny_checkpoint, options, message):
    with pytest.raises(InputError, match=message):
        Encoder(tiny_checkpoint(), **options)


def test_wrong_chunk_side_and_dim_are_refused(encoder):
    with pytest.raises(InputError, match="chunk"):
        encoder.stream_passages(["头"], chunk=0)
    with pytest.raises(InputError, match="side"):
        encoder.count_tokens(["头"], side="document")
    with pytest.raises(InputError, match="truncate_dim"):
        encoder.encode_queries(["头"], truncate_dim=10_000)


def test_unknown_options_are_refused(tiny_checkpoint):
    with pytest.raises(TypeError):
        Encoder(tiny_checkpoint(), normalise=True)


def test_the_embedded_model_is_int8_and_finds_what_is_alike(monkeypatch):
    monkeypatch.setattr("corom.engines.processor.has_vnni", lambda: True)
    encoder = Encoder.load()
    assert (encoder.name, encoder.precision, encoder.dim) == ("corom-medical", "int8", 512)
    query = encoder.encode_queries(["上消化道出血手术大约多久"])
    near, far = encoder.encode_passages(
        ["上消化道出血手术大约要2-3个小时左右。", "儿童近视要控制用眼时间，每天户外活动两小时。"]
    )
    assert query @ near > query @ far + 0.1


def test_auto_takes_int8_only_where_it_is_proven(tiny_checkpoint):
    assert Encoder(tiny_checkpoint()).precision in ("bf16", "fp32")


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(ArtifactError):
        Encoder.load(tmp_path)
    with pytest.raises(InputError, match="names no model"):
        Encoder.load("corom-medcial")


def test_threads_take_turns(encoder):
    from concurrent.futures import ThreadPoolExecutor

    expected = encoder.encode_passages(TEXTS)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: encoder.encode_passages(TEXTS), range(8)):
            np.testing.assert_allclose(found, expected, atol=1e-5)


def test_batches_planned_by_the_caller_give_the_same_vectors(tiny_checkpoint):
    encoder = Encoder(tiny_checkpoint())
    texts = ["糖尿病吃什么", "高血压", ""]
    found = np.empty((3, encoder.dim), np.float32)
    planned = batches([item.ids for item in encoder.cut(texts)], budget=encoder.batch_tokens)
    encoder.run(planned, lambda batch, vectors: found.__setitem__(batch.rows, vectors))
    assert np.abs(found - encoder.encode_passages(texts, normalize=False)).max() < 1e-6
    with pytest.raises(InputError, match="side"):
        encoder.cut(texts, side="document")

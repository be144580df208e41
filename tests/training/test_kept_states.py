from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from corom.engines.loading import open_body  # noqa: E402
from corom.engines.torch_bert import TorchBert  # noqa: E402
from corom.errors import ArtifactError, InputError  # noqa: E402
from corom.tokens import batches  # noqa: E402
from corom.training.batches import Chunk, States, Texts, make_cutters  # noqa: E402
from corom.training.kept_states import CpuBody, DeviceBody, KeptStates  # noqa: E402
from corom.training.learning import End  # noqa: E402
from corom.training.processes import start_accelerator  # noqa: E402
from corom.training.run_settings import RunSettings  # noqa: E402

pytestmark = pytest.mark.torch

PARTS = ["last two layers", "last layer", "last block"]
TEXTS = Texts(
    ("头痛吃什么药", "糖尿病", "头痛吃什么药"), ("多休息。", "hello 手术", "检查" * 40, "\x07")
)


def tower(checkpoint):
    bert = TorchBert(checkpoint.shape).eval()
    bert.load_weights(checkpoint.load_weights())
    return bert


def cutters_of(checkpoint):
    return make_cutters(checkpoint, query_length=16, passage_length=32)


def states_of(checkpoint, *, before, **options):
    return KeptStates(
        checkpoint,
        cutters_of(checkpoint),
        before=before,
        accelerator=start_accelerator(RunSettings(device="cpu")),
        precision="fp32",
        **options,
    )


@pytest.fixture(params=PARTS)
def kept(request, tiny_checkpoint, tmp_path):
    checkpoint = tiny_checkpoint(normalize=True)

    def make(**options):
        states = states_of(checkpoint, before=request.param, **options)
        states.fill(TEXTS, tmp_path / "states", report=None)
        return states

    return checkpoint, cutters_of(checkpoint), make


def whole(checkpoint, tokens):
    """Return the vectors of token ids one by one, by the whole encoder."""
    bert = tower(checkpoint)
    return torch.cat(
        [
            bert.encode(
                torch.from_numpy(ids.astype(np.int64))[None],
                torch.tensor([len(ids)]),
                pooling="cls",
                normalize=False,
            )
            for ids in tokens
        ]
    ).detach()


@pytest.mark.parametrize("at_once", [0, 3])
def test_the_end_of_kept_states_is_the_whole_encoder(kept, at_once):
    checkpoint, cutters, make = kept
    states = make(at_once=at_once)
    parts, order = states(TEXTS)
    assert sorted(np.concatenate(order).tolist()) == list(range(7))
    assert [len(rows) for rows in order] == ([3, 3, 1] if at_once else [7])
    end = End(tower(checkpoint), states.before).eval()
    wanted = whole(checkpoint, TEXTS.cut(cutters))
    for part, rows in zip(parts, order, strict=True):
        assert isinstance(part, States)
        assert (part.lengths.diff() <= 0).all()
        # Rows are kept as float16.
        torch.testing.assert_close(end(*part), wanted[rows], atol=5e-3, rtol=5e-3)


@pytest.mark.parametrize("kept", ["last two layers", "last layer"], indirect=True)
def test_states_in_another_order_are_refused(kept):
    checkpoint, _, make = kept
    states = make()
    rows, lengths = states(TEXTS).parts[0]
    with pytest.raises(InputError, match="most rows first"):
        End(tower(checkpoint), states.before)(rows, lengths.flip(0))


def test_two_layers_need_two(tiny_checkpoint, tiny_shape):
    checkpoint = tiny_checkpoint(shape=replace(tiny_shape, layers=1))
    with pytest.raises(InputError, match="the model has one layer"):
        states_of(checkpoint, before="last two layers")


def test_each_text_comes_once_with_its_number(kept):
    checkpoint, cutters, make = kept
    states = make()
    end = End(tower(checkpoint), states.before).eval()
    found = torch.zeros(len(states), checkpoint.shape.hidden)
    seen = []
    for numbers, part in states.each(at_once=4):
        found[torch.from_numpy(numbers)] = end(*part).detach()
        seen += numbers.tolist()
    assert sorted(seen) == list(range(6))  # one text is asked for twice, and kept once
    wanted = whole(checkpoint, TEXTS.cut(cutters))
    torch.testing.assert_close(found[states.numbers(TEXTS)], wanted, atol=5e-3, rtol=5e-3)


def test_states_of_another_prefix_are_others(kept, tmp_path):
    checkpoint, _, make = kept
    make()
    encoding = replace(checkpoint.encoding, query_prefix="头痛")
    prefixed = replace(checkpoint, encoding=encoding)
    states = states_of(prefixed, before=make().before)
    counted = []
    states.fill(TEXTS, tmp_path / "states", report=counted.append)
    assert counted, "taken from those without a prefix"
    end = End(tower(prefixed), states.before).eval()
    (plain,) = cutters_of(checkpoint).query.cut([f"头痛{TEXTS.queries[0]}"])
    (part,), _ = states(Texts(TEXTS.queries[:1], ()))
    torch.testing.assert_close(end(*part), whole(prefixed, [plain.ids]), atol=5e-3, rtol=5e-3)


def test_states_of_the_same_weights_in_another_shape_are_others(kept, tmp_path):
    checkpoint, _, make = kept
    first = make()
    other = replace(checkpoint, shape=replace(checkpoint.shape, layer_norm_eps=0.5))
    states = states_of(other, before=first.before)
    states.fill(TEXTS, tmp_path / "states", report=None)
    ours, theirs = (one(TEXTS).parts[0].rows for one in (first, states))
    assert not torch.allclose(ours, theirs, atol=1e-2)


def test_texts_that_differ_by_outer_blanks_do_not_shift_the_others(kept, tmp_path):
    checkpoint, cutters, make = kept
    states = make()
    texts = Texts(("头痛 ", "头痛", "查体"), (" 多休息", "多休息", "手术", "住院"))
    states.fill(texts, tmp_path / "others", report=None)
    [part], [order] = states(texts)
    end = End(tower(checkpoint), states.before).eval()
    with torch.no_grad():
        found = end(*part)[np.argsort(order)]
    torch.testing.assert_close(found, whole(checkpoint, texts.cut(cutters)), atol=5e-3, rtol=0)


def test_a_text_that_was_not_kept_is_an_error(kept):
    with pytest.raises(KeyError):
        kept[2]()(Texts(("咳嗽",), ()))


def test_the_second_run_reads_what_the_first_kept(kept, monkeypatch):
    make = kept[2]
    first = make()(TEXTS).parts[0]
    monkeypatch.setattr(CpuBody, "states", None)  # nothing is computed anew
    assert torch.equal(make()(TEXTS).parts[0].rows, first.rows)


def test_only_texts_that_were_not_kept_are_computed(kept, tmp_path, monkeypatch):
    checkpoint, cutters, make = kept
    states, computed = make(), []
    encoded = states._encoded
    monkeypatch.setattr(
        states, "_encoded", lambda texts, cutter: computed.extend(texts) or encoded(texts, cutter)
    )
    texts = Texts(("糖尿病", "咳嗽", "多休息。"), ("多休息。", "住院", "头痛吃什么药", "\x07"))
    states.fill(texts, tmp_path / "states", report=None)
    assert computed == ["咳嗽", "多休息。", "住院", "头痛吃什么药"]  # by side: lengths may differ
    [part], [order] = states(texts)
    end = End(tower(checkpoint), states.before).eval()
    with torch.no_grad():
        found = end(*part)[np.argsort(order)]
    torch.testing.assert_close(found, whole(checkpoint, texts.cut(cutters)), atol=5e-3, rtol=5e-3)


@pytest.mark.parametrize("which", range(4))
def test_a_changed_file_of_rows_is_refused(kept, tmp_path, which):
    kept[2]()
    files = sorted((tmp_path / "states").glob("*/*.npy"))
    assert len(files) == 4  # rows and whose they are, of each side
    changed = bytearray(files[which].read_bytes())
    changed[-1] ^= 1
    files[which].write_bytes(changed)
    with pytest.raises(ArtifactError, match=f"{files[which].name} was changed"):
        kept[2]()


def test_rows_that_are_missing_are_named(kept, tmp_path):
    kept[2]()
    rows = min((tmp_path / "states").glob("*/rows-*.npy"))
    rows.unlink()
    with pytest.raises(ArtifactError, match=f"{rows.name} is missing"):
        kept[2]()


@pytest.mark.filterwarnings("ignore:.*int8 keeps")
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("part", PARTS)
def test_the_cpu_engine_gives_what_torch_gives(tiny_checkpoint, precision, part):
    checkpoint = tiny_checkpoint()
    tokens = TEXTS.cut(cutters_of(checkpoint))
    bodies = (
        CpuBody(checkpoint, before=part, precision=precision),
        DeviceBody(tower(checkpoint), before=part, device=torch.device("cpu"), bf16=False),
    )
    results = []
    for body in bodies:
        rows = {}
        body.states(
            batches(tokens, budget=64),
            lambda batch, states, rows=rows: rows.update(zip(batch.rows, states, strict=True)),
        )
        lengths = [1 if part == "last block" else len(tokens[row]) for row in range(7)]
        results.append(np.concatenate([rows[row][: lengths[row]] for row in range(7)]))
    np.testing.assert_allclose(*results, atol={"fp32": 1e-4, "int8": 0.5}[precision])


def test_states_of_other_texts_are_remembered(kept):
    checkpoint, cutters, make = kept
    states = make()
    tokens = [one.ids for one in cutters.query.cut(["发热", "发热咳嗽怎么办"])]
    ids = torch.zeros(2, len(tokens[1]), dtype=torch.int64)
    for row, own in enumerate(tokens):
        ids[row, : len(own)] = torch.from_numpy(own.astype(np.int64))
    chunk = Chunk(ids, torch.tensor([len(own) for own in tokens]))
    first = states.remembered(chunk)
    assert states.remembered(chunk) is first
    end = End(tower(checkpoint), states.before).eval()
    found = end(*first.states)[torch.from_numpy(first.places)]
    torch.testing.assert_close(found.detach(), whole(checkpoint, tokens), atol=5e-3, rtol=5e-3)


@pytest.mark.parametrize("part", PARTS)
def test_the_cpu_engine_refuses_another_pooling(tiny_checkpoint, part):
    checkpoint = tiny_checkpoint(pooling="avg")
    with pytest.raises(InputError, match=f"the {part} alone needs pooling cls, not avg"):
        open_body(checkpoint, before=part, precision="fp32")

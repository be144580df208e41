"""Questions made for passages (recipes/generator.py, recipes/generate.py)."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import generate
from corom.readers import Pair, read_pairs
from generator import IGNORED

pytestmark = pytest.mark.torch

DISEASES = ("糖尿病", "高血压", "头痛", "发热", "咳嗽", "出血")
SOURCES = ("toyhom_neike_titles", "musicrap_huatuo_mix_train", "dialmed_dev", "caregpt_drug")
PAIRS = [
    Pair(f"{disease}吃什么药？", f"患者{disease}要休息，{place}。", source=source)
    for place, source in enumerate(SOURCES)
    for disease in DISEASES
]


@pytest.fixture
def made(tiny_checkpoint):
    checkpoint = tiny_checkpoint()
    torch.manual_seed(0)
    return checkpoint, generate.grown(checkpoint, styles=len(SOURCES)).cpu().eval()


@pytest.fixture
def styles():
    return {name: number for number, name in enumerate(sorted(SOURCES))}


def batch(checkpoint, styles):
    found = generate.examples(PAIRS, checkpoint, styles)
    (one,) = generate.batches(found, steps=1, batch=6, rng=np.random.default_rng(0))
    return one


def test_a_new_decoder_gives_the_encoders_words_no_passage_yet(made, styles):
    checkpoint, generator = made
    ids, lengths, kinds, questions = batch(checkpoint, styles)
    first = generator.loss(ids, lengths, kinds, questions)
    assert torch.equal(first, generator.loss(ids.flip(0), lengths.flip(0), kinds, questions))


def test_what_is_asked_word_by_word_is_what_was_learned_at_once(made, styles):
    """The likeliest next token, with the past kept, is that of the whole question so far."""
    checkpoint, generator = made
    torch.manual_seed(1)
    for weight in generator.new_parts():
        weight.data.normal_(0, 0.5)
    ids, lengths, kinds, _ = batch(checkpoint, styles)
    most = 9
    found = generator.ask(
        ids, lengths, kinds[:, None], most=most, end=3, never=[0], top=1, temperature=1.0
    )[:, 0]
    assert len({tuple(row) for row in found.tolist()}) > 1
    logits = generator.logits(generator.rows(ids, lengths, kinds, found[:, :-1]))
    logits[..., 0] = -torch.inf
    going = torch.cat(
        [torch.ones(len(found), 1, dtype=bool), (found != 3).cumprod(1)[:, :-1] > 0], 1
    )
    assert torch.equal(logits.argmax(2)[going], found[going])
    assert (found[~going] == 3).all()


def test_it_learns_what_answers_ask(made, styles, monkeypatch):
    monkeypatch.setattr(generate, "RATE", 3e-3)
    checkpoint, generator = made
    found = generate.examples(PAIRS, checkpoint, styles)
    one = batch(checkpoint, styles)
    before = generator.loss(*one).item()
    generate.train(generator, found, steps=60, batch=8, rng=np.random.default_rng(0))
    generator.eval()
    assert generator.loss(*one).item() < before / 2


def test_batches_are_as_many_as_asked_and_the_same_by_one_seed(tiny_checkpoint, styles):
    found = generate.examples(PAIRS, tiny_checkpoint(), styles)
    assert found.chances.sum() == pytest.approx(1)

    def drawn(seed):
        return list(generate.batches(found, steps=3, batch=4, rng=np.random.default_rng(seed)))

    first, again, other = drawn(1), drawn(1), drawn(2)
    assert [len(ids) for ids, *_ in first] == [4, 4, 4]
    assert [_plain(one) for one in first] == [_plain(one) for one in again]
    assert _plain(first[0]) != _plain(other[0])
    for _, _, _, questions in first:
        ends = (questions != IGNORED).sum(1)
        assert torch.equal(questions.gather(1, ends[:, None] - 1), torch.full((4, 1), 3))


def _plain(one):
    return [part.tolist() for part in one]


def test_the_plan_asks_about_patients_answers_alone():
    asked = generate.plan(PAIRS)
    assert len(asked) == 3 * len(DISEASES)
    assert sorted(map(len, asked.values())) == [1] * 6 + [3] * 6 + [4] * 6
    assert not any("，3。" in passage for passage in asked)


def test_no_question_is_made_twice_for_a_passage(made, styles):
    checkpoint, generator = made
    asked = generate.plan(PAIRS)
    found = list(generate.ask(generator, checkpoint, asked, styles, batch=5))
    assert 0 < len(found) == len(set(found)) <= sum(map(len, asked.values()))
    assert {one.passage for one in found} <= set(asked)


def test_the_command_writes_pairs_whose_passage_is_found(
    tiny_checkpoint, tmp_path, monkeypatch, capsys
):
    source, target = tmp_path / "pairs.jsonl", tmp_path / "made.jsonl"
    rows = ({"query": one.query, "positive": one.positive, "source": one.source} for one in PAIRS)
    source.write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
    )
    model = str(tiny_checkpoint(normalize=True).folder)
    command = [str(source), "--model", model, "--out", str(target), "--steps", "4", "--batch", "8"]
    monkeypatch.setattr(sys, "argv", ["generate.py", *command])
    monkeypatch.setattr(generate, "DEPTH", 3)
    generate.main()
    found = list(read_pairs(target))
    assert {one.source for one in found} == {"generated"}
    assert {one.positive for one in found} <= {one.positive for one in PAIRS}
    said = capsys.readouterr().out.splitlines()[-1].split()
    assert int(said[1]) == len(found) < int(said[3])

"""A dev set of one's own data."""

from __future__ import annotations

import json

import pytest

from corom.errors import FormatError, InputError
from corom.readers import open_dataset, read_groups, read_pairs
from corom.training import hold_out
from corom.training.mining_settings import HoldoutSettings
from corom.training.tables import from_table


@pytest.fixture
def settings(tmp_path, pairs):
    def make(output="split", **changes):
        table = {"data": [str(pairs)], "output": str(tmp_path / output), **changes}
        return from_table(HoldoutSettings, table)

    return make


def written(path, records):
    lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    path.write_text("".join(lines), encoding="utf-8")
    return str(path)


def texts_of(dataset):
    passages = {one.id: one.text for one in dataset.passages()}
    queries = {one.id: one.text for one in dataset.queries("dev")}
    judged = {(queries[one.query_id], passages[one.passage_id]) for one in dataset.qrels("dev")}
    return passages, queries, judged


def test_what_is_held_back_is_not_in_the_rest(settings, pairs):
    made = hold_out(settings(queries=12))
    passages, queries, judged = texts_of(open_dataset(made.dev))
    known, rest = list(read_pairs(pairs)), list(read_pairs(made.train[0]))
    assert (len(queries), len(rest)) == (12, 48)
    assert rest == [pair for pair in known if pair.query not in queries.values()]
    assert judged == {(pair.query, pair.positive) for pair in known} - {
        (pair.query, pair.positive) for pair in rest
    }
    assert set(passages.values()) == {
        text for one in known for text in (one.positive, *one.negatives)
    }
    assert len(passages) == len(set(passages.values()))
    assert made.counts == {"dev queries": 12, "dev passages": 60, "training records": 48}


def test_the_seed_decides_and_what_is_there_is_left(settings):
    first = hold_out(settings("a", queries=12))
    again = hold_out(settings("b", queries=12))
    other = hold_out(settings("c", queries=12, seed=1))
    halves = [made.train[0].read_bytes() for made in (first, again, other)]
    assert halves[0] == halves[1] != halves[2]
    stamp = first.train[0].stat().st_mtime_ns
    assert hold_out(settings("a", queries=12)) == first
    assert first.train[0].stat().st_mtime_ns == stamp
    with pytest.raises(InputError, match=r"made otherwise \(settings\.queries\)"):
        hold_out(settings("a", queries=13))


def test_what_shares_a_query_or_an_answer_stays_together(settings, tmp_path):
    tied = [("q1", "a1"), ("q2", "a1"), ("q2", "a2"), (" q3 ", "a2\n")]
    alone = [(f"x{n}", f"y{n}") for n in range(3)]
    records = [{"query": query, "positive": positive} for query, positive in [*alone, *tied]]
    data = [written(tmp_path / "tied.jsonl", records)]
    for seed in range(8):
        made = hold_out(settings(f"{seed}", data=data, queries=3, seed=seed))
        _, queries, judged = texts_of(open_dataset(made.dev))
        if "q1" in queries.values():
            assert set(queries.values()) == {"q1", "q2", "q3"}
            assert judged == {("q1", "a1"), ("q2", "a1"), ("q2", "a2"), ("q3", "a2")}
            assert made.counts["training records"] == 3
        else:
            assert set(queries.values()) == {"x0", "x1", "x2"}
    with pytest.raises(InputError, match="4 sets can be told apart, and none or all"):
        hold_out(settings("all", data=data, queries=6))
    together = written(tmp_path / "together.jsonl", records[3:])
    with pytest.raises(InputError, match="1 sets can be told apart"):
        hold_out(settings("none", data=[together], queries=2))


def test_several_inputs_of_either_form(settings, dataset, pairs):
    made = hold_out(settings(data=[str(dataset), str(pairs)], queries=20))
    assert [path.name for path in made.train] == ["medical.jsonl", "pairs.jsonl"]
    _, queries, _ = texts_of(open_dataset(made.dev))
    groups, rest = list(read_groups(made.train[0])), list(read_pairs(made.train[1]))
    # Both hold the same questions and answers.
    assert len(groups) == len(rest) == 60 - len(queries) == 40
    assert not {one.query for one in (*groups, *rest)} & set(queries.values())


def test_bad_rows(settings, tmp_path):
    good = [{"query": f"q{n}", "positive": f"p{n}"} for n in range(5)]
    data = [written(tmp_path / "bad.jsonl", [*good, {"query": "x"}])]
    with pytest.raises(FormatError, match="line 6"):
        hold_out(settings(data=data, queries=2))
    made = hold_out(settings(data=data, queries=2, bad_rows="skip"))
    assert made.counts["training records"] == 3
    assert sum(made.counts.values()) == 2 + 5 + 3 + 1


def test_judgements_of_what_is_not_there_are_counted(settings, dataset):
    with (dataset / "qrels.train.tsv").open("a") as file:
        file.write("1\t0\t9999\t1\n777\t0\t1\t1\n")
    counts = hold_out(settings(data=[str(dataset)], queries=20)).counts
    assert counts["judgements of passages that are not there"] == 1
    assert counts["judgements of queries that are not there"] == 1


def test_impossible_settings_are_refused(settings):
    with pytest.raises(InputError, match="queries is 0"):
        settings(queries=0)
    with pytest.raises(InputError, match="names no file"):
        settings(data=[])

from __future__ import annotations

import json
import lzma
from dataclasses import replace
from pathlib import Path

import pytest

from corom.errors import FormatError, InputError
from corom.training.examples import Row
from corom.training.inputs import holds_groups
from corom.training.mining import mine
from corom.training.mining_settings import MineSettings, SampleSettings
from corom.training.rows import read_graded, read_rows
from corom.training.sampling import sample
from corom.training.settings import DataSettings, RowSettings

from .conftest import texts


def write(path, *records):
    lines = (r if isinstance(r, str) else json.dumps(r, ensure_ascii=False) for r in records)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def read(*paths, **options):
    return read_rows(RowSettings(train=paths, **options))


GROUP = {
    "query_id": "1",
    "query": "头痛吃什么药",
    "positive_passages": [
        {"docid": "1", "title": "头痛", "text": "可以吃药"},
        {"docid": "2", "text": "多休息"},
        {"docid": "3", "text": "多休息"},
    ],
    "negative_passages": [{"docid": "4", "text": "多休息"}, {"docid": "5", "text": "检查胃肠"}],
}


def test_groups_become_rows_without_doubles(tmp_path):
    found = read(write(tmp_path / "a.jsonl", GROUP))
    assert found.rows == [Row("头痛吃什么药", ("头痛 可以吃药", "多休息"), ("检查胃肠",), "a")]
    assert found.counts["negatives that were positives, dropped"] == 1


def test_pairs_become_rows_and_repeated_ones_are_dropped(tmp_path):
    pair = {"query": "头痛", "positive": "休息", "source": "toyhom"}
    found = read(write(tmp_path / "a.jsonl", pair, pair, {**pair, "positive": "吃药"}))
    assert [row.positives for row in found.rows] == [("休息",), ("吃药",)]
    assert found.rows[0].source == "toyhom"
    assert found.counts["repeated rows, dropped"] == 1
    assert found.counts["rows without negatives"] == 2
    assert found.pool == ["休息", "吃药"]


def test_triples_are_one_row_with_all_their_negatives(tmp_path):
    pair = {"query": "头痛", "positive": "休息"}
    negatives = [["检查"], ["手术"], ["检查"], [], ["休息", "水"]]
    lines = [{**pair, "negatives": own} for own in negatives]
    found = read(write(tmp_path / "a.jsonl", *lines, {**pair, "query": "咳", "negatives": ["水"]}))
    assert [row.negatives for row in found.rows] == [("检查", "手术", "水"), ("水",)]
    assert found.counts["rows whose negatives joined an earlier row's"] == 2
    assert found.counts["repeated rows, dropped"] == 2
    assert found.counts["negatives that were positives, dropped"] == 1


def test_what_any_row_knows_to_answer_a_query_is_no_negative_of_it(tmp_path):
    pair = {"query": "头痛", "negatives": ["吃药 ", "检查"]}
    alone = {"query": "咳", "positive": "水"}
    one = write(tmp_path / "a.jsonl", {**pair, "positive": "休息"}, alone)
    other = write(tmp_path / "b.jsonl", {"query": "头痛 ", "positive": "吃药"})
    found = read(one, other)
    assert [row.negatives for row in found.rows] == [("检查",), (), ()]
    assert found.counts["negatives that were positives, dropped"] == 1
    assert [found.answers_to(row) for row in found.rows] == [
        ("休息", "吃药"),
        ("水",),
        ("休息", "吃药"),
    ]
    assert len(found.answers) == 1  # what one row alone says is not held twice


def test_a_source_gives_its_share_of_passages_to_draw_from(tmp_path):
    pairs = [
        {"query": f"问{n}", "positive": f"答{n}", "source": "kg_a" if n < 400 else "toy"}
        for n in range(450)
    ]
    path = write(tmp_path / "a.jsonl", *pairs)
    found = read(path, fill="random", pool={"kg_*": 0.25})
    kept = [int(text[1:]) for text in found.pool]
    assert sum(n >= 400 for n in kept) == 50  # no pattern: all
    assert 70 <= sum(n < 400 for n in kept) <= 130
    assert found.counts["passages to draw from"] == len(found.pool)
    assert read(path, fill="random", pool={"kg_*": 0.25}).pool == found.pool
    with pytest.raises(InputError, match=r"data\.pool leaves no passage"):
        read(path, fill="random", pool={"*": 0.0})
    assert len(found.rows) == 450  # rows to learn from are another matter


def test_a_dataset_folder_gives_rows_and_its_corpus_as_pool(dataset):
    found = read(str(dataset))
    assert len(found.rows) == len(found.pool) == 60
    assert found.rows[0].source == "medical"
    assert len(read(str(dataset), split="dev").rows) == 20
    with pytest.raises(InputError, match="no split 'test'"):
        read(str(dataset), split="test")


def test_what_is_judged_0_is_a_negative_and_what_nobody_judged_is_in_the_pool(dataset):
    for name, lines in (
        ("corpus.tsv", "61\t多休息\n62\t少吃药\n"),
        ("qrels.train.tsv", "1\t0\t61\t0\n1\t0\t2\t3\n"),
    ):
        with (dataset / name).open("a", encoding="utf-8") as file:
            file.write(lines)
    found = read(str(dataset))
    assert found.rows[0].negatives == ("多休息",)
    assert found.rows[0].positives == (texts()[0][1], texts()[1][1])
    assert not any(row.negatives for row in found.rows[1:])
    assert found.pool == [*(answer for _, answer in texts()), "多休息", "少吃药"]


def test_a_source_keeps_its_name_when_it_is_sampled(dataset, tmp_path):
    packed = tmp_path / "noisy.jsonl.xz"
    packed.write_bytes(lzma.compress(json.dumps(GROUP).encode()))
    own = {"query": "头痛", "positive": "休息", "source": "toy"}
    before = (str(dataset), str(packed), write(tmp_path / "pairs.jsonl", own))
    after = sample(SampleSettings(data=before, output=str(tmp_path / "sampled")))
    for paths in (before, after):
        sources = [row.source for row in read(*map(str, paths)).rows]
        assert list(dict.fromkeys(sources)) == ["medical", "noisy", "toy"]


def test_a_query_without_its_passage_raises_or_is_counted(dataset):
    with (dataset / "qrels.train.tsv").open("a") as file:
        file.write("61\t0\t9999\t1\n")
    with (dataset / "train.query.txt").open("a") as file:
        file.write("61\t头痛\n")
    with pytest.raises(FormatError, match="query 61 has no relevant passage"):
        read(str(dataset))
    found = read(str(dataset), bad_rows="skip")
    assert len(found.rows) == 60
    assert found.skips.counts == {"no relevant passage": 1}
    assert found.report()["left out"] == {"no relevant passage": 1}


@pytest.mark.parametrize(
    "line",
    [
        "{broken",
        '"text"',
        {"query": "头痛"},
        {"query": " ", "positive": "休息"},
        {"query": "头痛", "positive": ""},
        {"query": "头痛", "positive": 3},
        {"query": "头痛", "positive": "休息", "negatives": "吃药"},
        {"query": "头痛", "positive": "休息", "label": 0},
    ],
)
def test_every_bad_line_raises_or_is_counted(tmp_path, line):
    path = write(tmp_path / "a.jsonl", {"query": "咳嗽", "positive": "休息"}, line)
    with pytest.raises(FormatError) as caught:
        read(path)
    assert "头痛" not in str(caught.value)
    assert f"{path}, line 2: " in str(caught.value)
    found = read(path, bad_rows="skip")
    assert (len(found.rows), found.skips.total) == (1, 1)


@pytest.mark.parametrize("bad", ["{broken", "", '{"query": "positive_passages"}', "[1]", "\x00"])
def test_a_bad_first_line_does_not_make_pairs_of_groups_or_groups_of_pairs(tmp_path, bad):
    groups = write(tmp_path / "groups.jsonl", bad, GROUP)
    with pytest.raises(FormatError, match="line 1: "):
        read(groups)
    found = read(groups, bad_rows="skip")
    assert (found.rows[0].positives, found.skips.total) == (("头痛 可以吃药", "多休息"), 1)
    pair = {"query": "positive_passages", "positive": "休息"}
    found = read(write(tmp_path / "pairs.jsonl", bad, pair), bad_rows="skip")
    assert (found.rows[0].positives, found.skips.total) == (("休息",), 1)
    assert not holds_groups(Path(write(tmp_path / "none.jsonl", bad)))
    assert not holds_groups(Path(write(tmp_path / "pairs.tsv", json.dumps(GROUP))))


def test_judgements_of_what_is_not_there_are_counted(dataset, tmp_path):
    plain = read(str(dataset))
    assert not any("judgements" in what for what in plain.counts)
    with (dataset / "qrels.train.tsv").open("a") as file:
        file.write("1\t0\t9999\t1\n2\t0\t9998\t0\n777\t0\t1\t1\n")
    found = read(str(dataset))
    assert found.rows == plain.rows
    sample(SampleSettings(data=(str(dataset),), output=str(tmp_path / "sampled")))
    report = json.loads((tmp_path / "sampled" / "report.json").read_text(encoding="utf-8"))
    counts = {
        "judgements of passages that are not there": 2,
        "judgements of queries that are not there": 1,
    }
    assert report["report"]["left out"] == counts
    chosen = {"output": str(tmp_path / "mined"), "source": "random"}
    assert mine(MineSettings(data=(str(dataset),), **chosen)).left_out == counts
    assert {what: found.counts[what] for what in counts} == counts


def test_nothing_to_train_on_is_said(tmp_path):
    path = write(tmp_path / "a.jsonl", {"query": "头痛", "positive": "休息", "label": 0})
    with pytest.raises(InputError, match=r"no row to train on .*1 label 0"):
        read(path, bad_rows="skip")


def test_graded_pairs_need_labels(tmp_path):
    path = write(
        tmp_path / "a.jsonl",
        {"query": "头痛", "positive": "头疼", "label": 2},
        {"query": "头痛", "positive": "休息"},
    )
    data = DataSettings(train=("rows.jsonl",), graded=(path,))
    with pytest.raises(FormatError, match=r"a\.jsonl, line 2: has no label"):
        read_graded(data)
    rows, skips = read_graded(replace(data, bad_rows="skip"))
    assert rows == [("头痛", "头疼", 2.0, "a")]
    assert skips.total == 1
    assert read_graded(replace(data, graded=()))[0] == []


def test_ids_that_repeat_raise_or_are_counted(dataset):
    with (dataset / "corpus.tsv").open("a", encoding="utf-8") as file:
        file.write("1\t另一段\n")
    with pytest.raises(FormatError, match=r"corpus\.tsv, line 61: repeats the id"):
        read(str(dataset))
    found = read(str(dataset), bad_rows="skip")
    assert found.skips.counts == {"duplicate": 1}
    assert len(found.rows) == 60

from __future__ import annotations

import json

import numpy as np
import pytest

from corom.encoder import Encoder
from corom.errors import ArtifactError, FormatError, InputError
from corom.readers import Group, read_groups, read_pairs, write_groups
from corom.records import Passage
from corom.training.mining import mine
from corom.training.mining_settings import MineSettings
from corom.training.provenance import REPORT
from corom.training.tables import from_table

from .conftest import texts


@pytest.fixture
def settings(tiny_checkpoint, tmp_path, pairs):
    checkpoint = tiny_checkpoint(normalize=True)

    def make(output="mined", **changes):
        table = {
            "data": [str(pairs)],
            "model": str(checkpoint.folder),
            "output": str(tmp_path / output),
            "negatives": 3,
            "depth": 20,
            **changes,
        }
        return from_table(MineSettings, table)

    return make


def only(mined, read):
    return list(read(mined.files[0]))


def test_mined_negatives_are_the_nearest_that_may_be_used(settings, pairs):
    chosen = settings(choose="first", relative_margin=0.001, negatives=4, depth=40)
    mined = mine(chosen)
    before, after = list(read_pairs(pairs)), only(mined, read_pairs)
    encoder = Encoder.load(chosen.model)
    pool = list(dict.fromkeys(t for pair in before for t in (pair.positive, *pair.negatives)))
    passages = encoder.encode_passages(pool)
    queries = encoder.encode_queries([pair.query for pair in before])
    for old, new, query in zip(before, after, queries, strict=True):
        assert new._replace(negatives=old.negatives) == old
        scores = passages @ query
        bar = 0.999 * scores[pool.index(old.positive)]
        allowed = [
            pool[place]
            for place in np.argsort(-scores, kind="stable")[:40]
            if scores[place] <= bar and pool[place] not in (old.positive, *old.negatives)
        ]
        assert list(new.negatives) == [*old.negatives, *allowed[:4]]
    assert mined.records == 60
    assert mined.passages == len(pool)
    assert mined.negatives == sum(len(pair.negatives) - 2 for pair in after) > 60
    assert mined.dropped["too close to the positive"] > 0


def test_sources_that_are_not_searched_give_no_negatives(settings, tmp_path):
    alike, answers = tmp_path / "alike.jsonl", tmp_path / "answers.jsonl"
    for path, source in ((alike, "alike"), (answers, "qa")):
        rows = (
            {"query": f"{source} 头痛 {n}", "positive": f"{source} 多休息 {n}", "source": source}
            for n in range(12)
        )
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        path.write_text("".join(lines), encoding="utf-8")
    chosen = settings(data=[str(alike), str(answers)], pool={"alike": 0.0}, relative_margin=None)
    mined = mine(chosen)
    assert mined.passages == 12
    found = {text for path in mined.files for p in read_pairs(path) for text in p.negatives}
    assert found
    assert all(text.startswith("qa ") for text in found)
    with pytest.raises(InputError, match="no passage to mine in"):
        mine(settings("none", data=[str(alike)], pool={"alike": 0.0}))


def test_without_a_margin_only_what_is_known_is_dropped(settings):
    mined = mine(settings(relative_margin=None))
    assert set(mined.dropped) <= {"known positive", "negative already", "the query itself"}
    assert mined.dropped["known positive"] > 0
    assert mined.negatives == 180


def test_the_precision_is_that_of_the_model_that_ranks(settings, monkeypatch):
    asked = []
    load = Encoder.load

    def noted(*names, **options):
        asked.append(options["precision"])
        return load(*names, **options)

    monkeypatch.setattr(Encoder, "load", noted)
    mine(settings())
    mine(settings("fp32", precision="fp32"))
    assert asked == ["auto", "fp32"]
    with pytest.raises(InputError, match="precision"):
        settings("other", precision="int4")


def test_the_window_leaves_out_the_best_ranked(settings):
    mined = mine(settings(relative_margin=None, skip_first=5, depth=8, negatives=9))
    assert mined.dropped["ranked before the window"] == 300
    assert mined.mean_rank > 5
    assert 0 < mined.negatives <= 180


def test_sampling_is_by_the_seed(settings):
    one, same, other = (
        mine(settings(name, seed=seed, relative_margin=None))
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert only(one, read_pairs) == only(same, read_pairs) != only(other, read_pairs)


def test_every_answer_to_a_query_is_known_in_all_its_pairs(settings, pairs):
    (query, first), (_, second) = texts()[:2]
    line = json.dumps({"query": query, "positive": second}, ensure_ascii=False)
    with pairs.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    mined = mine(settings(relative_margin=None, negatives=50, depth=200, source="random"))
    for pair in only(mined, read_pairs):
        if pair.query == query:
            assert first not in pair.negatives
            assert pair.negatives.count(second) == (pair.positive != second) * 0
    assert mined.negatives > 60 * 40


def test_a_dataset_folder_gives_groups_over_its_corpus(settings, dataset):
    mined = mine(settings(data=[str(dataset)]))
    groups = only(mined, read_groups)
    assert mined.files[0].name == "medical.jsonl"
    assert len(groups) == 60
    assert mined.passages == 60
    for group in groups:
        ids = {passage.id for passage in group.negatives}
        assert len(ids) == len(group.negatives) <= 3
        assert group.positives[0].id not in ids


def test_groups_keep_their_form_and_a_corpus_of_ones_own_is_searched(settings, dataset, tmp_path):
    mined = mine(settings("first", data=[str(dataset)], relative_margin=None))
    corpus = tmp_path / "more.txt"
    corpus.write_text("头痛吃药\n高血压饮食\n头痛吃药\n", encoding="utf-8")
    again = mine(
        settings("second", data=[str(mined.files[0])], corpus=str(corpus), relative_margin=None)
    )
    assert again.passages == 2
    for old, new in zip(only(mined, read_groups), only(again, read_groups), strict=True):
        added = new.negatives[len(old.negatives) :]
        assert {passage.text for passage in added} == {"头痛吃药", "高血压饮食"}


@pytest.mark.parametrize("own_corpus", [False, True])
def test_an_id_never_stands_for_two_texts(settings, tmp_path, own_corpus):
    files = []
    for half in range(2):
        files.append(tmp_path / f"groups{half}.jsonl")
        # Both count their passages from 0, as a corpus does that is none of theirs.
        groups = [
            Group(str(n), query, (Passage(str(n), answer),), (Passage(f"n{n}", f"无{half}{n}"),))
            for n, (query, answer) in enumerate(texts()[30 * half : 30 * half + 30])
        ]
        write_groups(files[half], groups)
    corpus = tmp_path / "corpus.jsonl"
    lines = ({"id": str(n), "text": answer} for n, (_, answer) in enumerate(texts()[::-1]))
    corpus.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    more = {"corpus": str(corpus)} if own_corpus else {}
    mined = mine(settings(data=[str(file) for file in files], relative_margin="none", **more))
    assert mined.negatives == 180
    for before, after in zip(files, mined.files, strict=True):
        known = {}
        for old, new in zip(read_groups(before), read_groups(after), strict=True):
            assert new[:3] == old[:3]
            assert new.negatives[:1] == old.negatives
            for passage in (*new.positives, *new.negatives):
                assert known.setdefault(passage.id, passage.text) == passage.text


def test_random_negatives_need_no_model(settings):
    chosen = settings(source="random", model="", depth=200)
    mined = mine(chosen)
    assert mined.negatives == 180
    ours = only(mined, read_pairs)
    assert ours == only(mine(settings("again", source="random", model="", depth=200)), read_pairs)
    assert len({pair.negatives[2:] for pair in ours}) > 50


def test_bm25_negatives_share_words_with_the_query(settings):
    pytest.importorskip("rjieba")
    mined = mine(settings(source="bm25", model="", choose="first", negatives=2))
    assert mined.negatives == 120
    pair = only(mined, read_pairs)[0]
    assert all("糖尿病" in text or "吃什么药" in text for text in pair.negatives[2:])


def test_a_kill_loses_no_vectors(settings, monkeypatch):
    from corom.training import mining

    chosen = settings()
    with monkeypatch.context() as patched:
        patched.setattr(mining, "write_records", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            mine(chosen)
    kept = list(chosen.kept_vectors.rglob("*.npy"))
    assert len(kept) == 1
    stamp = kept[0].stat().st_mtime_ns
    mine(chosen)
    assert kept[0].stat().st_mtime_ns == stamp


def test_a_mined_folder_is_taken_as_it_is_unless_asked_otherwise(settings, tmp_path):
    seen = []
    mined = mine(settings(), progress=seen.append)
    assert [now for now in seen if now.done == now.total][-1] == ("records", 60, 60)
    assert ("passages", 60, 60) in seen
    stamp = mined.files[0].stat().st_mtime_ns
    assert mine(settings()) == mined
    assert mined.files[0].stat().st_mtime_ns == stamp
    with pytest.raises(InputError, match=r"made otherwise \(settings\.negatives\)"):
        mine(settings(negatives=5))
    mined.files[0].write_text("", encoding="utf-8")
    with pytest.raises(ArtifactError, match="bytes, its manifest says"):
        mine(settings())


def test_bad_lines_raise_or_are_counted_and_no_text_is_reported(settings, pairs):
    with pairs.open("a", encoding="utf-8") as file:
        file.write('{"query": "头痛吃什么"}\n')
        file.write('{"query": "头痛", "positive": "咳嗽", "label": 0}\n')
    with pytest.raises(FormatError, match="line 61"):
        mine(settings())
    mined = mine(settings(bad_rows="skip"))
    assert sum(mined.left_out.values()) == 2
    assert mined.records == 60
    report = (mined.files[0].parent / REPORT).read_text(encoding="utf-8")
    assert "头痛" not in report


@pytest.mark.parametrize("own_corpus", [False, True])
def test_passages_that_cannot_be_read_raise_or_are_counted(settings, dataset, own_corpus):
    with (dataset / "corpus.tsv").open("a", encoding="utf-8") as file:
        file.write("1\t另一段\n")
    more = {"data": [str(dataset)], "source": "random"}
    if own_corpus:
        more = {"corpus": str(dataset), "source": "random"}
    with pytest.raises(FormatError, match="repeats the id"):
        mine(settings(**more))
    mined = mine(settings(**more, bad_rows="skip"))
    assert (mined.passages, mined.left_out) == (60, {"duplicate": 1})


def test_impossible_settings_are_refused(settings, pairs, tmp_path):
    for change, message in (
        ({"data": []}, "names no file"),
        ({"model": ""}, "needs a model"),
        ({"skip_first": 20}, "below depth"),
        ({"relative_margin": 1.0}, "a share"),
        ({"relative_margin": 0.5, "source": "bm25"}, "for source = 'dense', not 'bm25'"),
        ({"negatives": 0}, "negatives is 0; it must be a whole number from 1"),
        ({"pool": {"*": 1.5}}, "a share, 0 to 1"),
        ({"pool": {"*": 0.5}, "corpus": "corpus.tsv"}, "no corpus"),
    ):
        with pytest.raises(InputError, match=message):
            settings(**change)
    (tmp_path / "copy").mkdir()
    twin = tmp_path / "copy" / pairs.name
    twin.write_bytes(pairs.read_bytes())
    with pytest.raises(InputError, match="two inputs are called pairs"):
        mine(settings(data=[str(pairs), str(twin)]))

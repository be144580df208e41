from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import ir_measures
import pytest

from corom.encoder import Encoder
from corom.errors import InputError
from corom.evaluation import Dense, Lexical, evaluate, measure
from corom.metrics import evaluate_run
from corom.ranking import rank_hits
from corom.readers import Dataset, open_dataset
from corom.records import Hit, Passage, Query
from corom.vectors import normalized
from evaluation.retrievers import by_id

MEASURES = ("MRR@10", "Recall@1000", "nDCG@10", "MAP")


def own_ranking(encoder: Encoder, data: Dataset, split: str, dim: int, *, unit: bool) -> dict:
    passages, queries = list(data.passages()), list(data.queries(split))
    vectors = encoder.encode_passages([p.content for p in passages], normalize=False)[:, :dim]
    asked = encoder.encode_queries([q.text for q in queries], normalize=False)[:, :dim]
    if unit:
        vectors, asked = normalized(vectors), normalized(asked)
    scores = asked @ vectors.T
    return {
        query.id: rank_hits([Hit(p.id, float(s)) for p, s in zip(passages, row, strict=True)])
        for query, row in zip(queries, scores, strict=True)
    }


@pytest.mark.parametrize(("unit", "dim"), [(False, 32), (True, 32), (True, 8), (False, 8)])
def test_the_figures_are_those_of_all_products(
    data: Dataset, dense: Callable[..., Dense], encoder: Encoder, unit: bool, dim: int
) -> None:
    model = dense(normalize=unit, truncate_dim=None if dim == 32 else dim)
    report = evaluate(data, [model], splits=["dev"])
    run = own_ranking(encoder, data, "dev", dim, unit=unit)
    expected = evaluate_run(run, data.qrels("dev"))
    (result,) = report.results
    assert {m: result.evaluation.means[m] for m in MEASURES} == pytest.approx(expected.means)
    recall = evaluate_run(run, data.qrels("dev"), measures=["Recall@10"])
    assert result.recall[10] == recall.means["Recall@10"]
    assert result.settings["dim"] == dim
    assert (report.passages, report.checksum) == (60, data.checksum())


def test_a_text_has_one_vector_as_a_query_and_another_as_a_passage(
    dense: Callable[..., Dense], encoder: Encoder
) -> None:
    encode = {"query": encoder.encode_queries, "passage": encoder.encode_passages}
    for side in ("query", "passage"):
        (found,) = dense().vectors(["头痛"], side=side)
        assert found.tolist() == encode[side](["头痛"]).tolist()


def test_run_files_measured_by_ir_measures_give_the_same_figures(
    data: Dataset, dense: Callable[..., Dense], tmp_path: Path
) -> None:
    models = [Lexical(), dense(), dense("tiny@8", truncate_dim=8), by_id("all alike", lambda _: 1)]
    report = evaluate(data, models, splits=["dev", "test"], runs=tmp_path / "runs")
    names = {"MRR@10": "RR@10", "Recall@1000": "R@1000", "nDCG@10": "nDCG@10", "MAP": "AP"}
    for result in report.results:
        file = tmp_path / "runs" / f"{result.split}.{result.model.replace(' ', '-')}.run"
        found = ir_measures.calc_aggregate(
            [ir_measures.parse_measure(name) for name in names.values()],
            list(ir_measures.read_trec_qrels(str(data.path / f"qrels.{result.split}.tsv"))),
            list(ir_measures.read_trec_run(str(file))),
        )
        tags = {line.split()[-1] for line in file.read_text(encoding="utf-8").splitlines()}
        assert tags == {result.model.replace(" ", "-")}
        for own, theirs in names.items():
            assert found[ir_measures.parse_measure(theirs)] == pytest.approx(
                result.evaluation.means[own], abs=1e-9
            )
    assert len(list((tmp_path / "runs").iterdir())) == 8


def test_results_are_in_the_order_asked_for_and_compared_with_the_base(data: Dataset) -> None:
    best, worst = by_id("best", lambda i: -float(i)), by_id("worst", lambda i: float(i))
    report = evaluate(data, [worst, best], splits=["dev", "test"], measures=["MRR@10"])
    assert [(r.split, r.model) for r in report.results] == [
        ("dev", "worst"),
        ("dev", "best"),
        ("test", "worst"),
        ("test", "best"),
    ]
    base, other = report.results[:2]
    assert (report.against, base.versus) == ("worst", None)
    difference = other.evaluation.means["MRR@10"] - base.evaluation.means["MRR@10"]
    assert other.versus["MRR@10"].difference == pytest.approx(difference)
    assert 0 < other.versus["MRR@10"].p_value < 0.05
    low, high = other.intervals["MRR@10"]
    assert low < other.evaluation.means["MRR@10"] < high
    turned = evaluate(data, [worst, best], splits=["dev"], measures=["MRR@10"], against="best")
    assert turned.results[0].versus["MRR@10"].difference == pytest.approx(-difference)
    alike = evaluate(
        data, [best, by_id("twin", lambda i: -float(i))], splits=["dev"], measures=["MAP"]
    )
    assert alike.results[1].versus["MAP"].p_value == 1


def test_a_few_queries_at_a_time_give_the_figures_of_all(
    data: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (data.path / "qrels.dev.tsv").write_text(
        "1\t0\t3\t1\n2\t0\t4\t0\n9\t0\t5\t2\n12\t0\t1\t1\n777\t0\t3\t1\n", encoding="utf-8"
    )
    model = by_id("by id", lambda i: -float(i))
    measures = ["MRR@10", "Recall@2"]
    whole = evaluate(data, [model], splits=["dev"], measures=measures, runs=tmp_path / "a")
    monkeypatch.setattr(measure, "_HITS", 3000)
    pieces = evaluate(data, [model], splits=["dev"], measures=measures, runs=tmp_path / "b")
    one, other = whole.results[0].evaluation, pieces.results[0].evaluation
    assert one.means == pytest.approx(other.means)
    assert one.means["MRR@10"] == pytest.approx((1 / 3 + 1 / 5 + 1 + 0) / 4)
    for each in (one, other):
        assert (each.queries, each.missing, each.excluded, each.ignored) == (4, 1, 1, 16)
        assert each.per_query["777"]["MRR@10"] == 0
    files = [folder / "dev.by-id.run" for folder in (tmp_path / "a", tmp_path / "b")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert len(files[0].read_text().splitlines()) == 20 * 60


def test_depth_limits_the_hits(data: Dataset) -> None:
    model = by_id("by id", lambda i: -float(i))
    report = evaluate(data, [model], splits=["dev"], measures=["MAP", "Recall@5"], depth=5)
    assert list(report.results[0].recall) == [1, 2, 3, 5]
    deep = evaluate(data, [model], splits=["dev"], measures=["MAP"], depth=60)
    assert report.results[0].evaluation.means["MAP"] < deep.results[0].evaluation.means["MAP"]


def test_bm25_finds_what_shares_words_only(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "corpus.tsv").write_text("1\t糖尿病饮食\n2\t高血压用药\n", encoding="utf-8")
    (folder / "dev.query.txt").write_text("1\t糖尿病\n2\t骨折\n", encoding="utf-8")
    (folder / "qrels.dev.tsv").write_text("1\t0\t1\t1\n2\t0\t2\t1\n", encoding="utf-8")
    data = open_dataset(folder)
    (result,) = evaluate(data, [Lexical()], splits=["dev"], runs=tmp_path).results
    assert result.evaluation.means["MRR@10"] == 0.5
    assert result.settings == {"k1": 1.2, "b": 0.75, "cut": "words"}
    assert len((tmp_path / "dev.bm25.run").read_text().splitlines()) == 1


def test_bm25_by_pairs_of_characters(tmp_path: Path) -> None:
    passages = [Passage("1", "糖尿病饮食"), Passage("2", "高血压用药")]
    for cut, found in (("words", []), ("bigrams", ["1"])):
        lexical = Lexical(cut=cut)
        (hits,) = lexical.index(passages).search([Query("1", "尿病")], 5)
        assert ([hit.id for hit in hits], lexical.settings["cut"]) == (found, cut)


def test_an_empty_corpus_scores_nothing(tmp_path: Path, dense: Callable[..., Dense]) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    for name, text in (("corpus.tsv", ""), ("dev.query.txt", "1\t头痛\n")):
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "qrels.dev.tsv").write_text("1\t0\t1\t1\n", encoding="utf-8")
    data = open_dataset(folder)
    report = evaluate(data, [Lexical(), dense()], splits=["dev"])
    assert [each.evaluation.means["MRR@10"] for each in report.results] == [0, 0]
    assert report.passages == 0


def test_wrong_wishes_are_refused_before_anything_is_encoded(data: Dataset, tmp_path: Path) -> None:
    class Never:
        name, settings = "never", {}

        def index(self, _passages: object) -> None:
            raise AssertionError

    for wrong, message in (
        ({"splits": []}, "no split"),
        ({"splits": ["train"]}, "no split 'train'"),
        ({"splits": ["dev", "dev"]}, "twice"),
        ({"measures": ["MRR"], "depth": 0}, "depth"),
        ({"measures": ["Recall@2000"]}, "deeper"),
        ({"measures": ["Hits@3"]}, "unknown measure"),
        ({"measures": []}, "at least one"),
        ({"against": "bm25"}, "cannot compare"),
    ):
        with pytest.raises(InputError, match=message):
            evaluate(data, [Never()], **{"splits": ["dev"], **wrong})
    for name in ("corpus.tsv", "dev.query.txt"):
        whole = (data.path / name).read_bytes()
        (data.path / name).write_bytes(whole + "a b\t头痛\n".encode())
        with pytest.raises(InputError, match="'a b' cannot stand in a run"):
            evaluate(data, [Never()], splits=["dev"], runs=tmp_path)
        (data.path / name).write_bytes(whole)
    with pytest.raises(InputError, match="no model"):
        evaluate(data, [], splits=["dev"])
    with pytest.raises(InputError, match="twice"):
        evaluate(data, [Never(), Never()], splits=["dev"])
    pair = [by_id("a/b", float), by_id("a b", float)]
    with pytest.raises(InputError, match="share a run file"):
        evaluate(data, pair, splits=["dev"], runs=tmp_path)


def test_a_dim_the_model_has_not_is_refused(dense: Callable[..., Dense]) -> None:
    for dim in (0, 33, 2.5):
        with pytest.raises(InputError, match="truncate_dim"):
            dense(truncate_dim=dim)


def test_vectors_are_shared_by_lengths_and_told_apart_by_weights(
    data: Dataset, dense: Callable[..., Dense], encoder: Encoder, tmp_path: Path
) -> None:
    evaluate(data, [dense(), dense("short", truncate_dim=4)], splits=["dev"])
    folders = sorted((tmp_path / "work").iterdir())
    assert len(folders) == 2  # queries and passages
    written = json.loads((folders[0] / "options.json").read_text())
    assert written["fingerprint"] == encoder.fingerprint
    weights = encoder.folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    evaluate(data, [dense()], splits=["dev"])
    assert len(list((tmp_path / "work").iterdir())) == 4


def test_progress_counts_passages(data: Dataset, dense: Callable[..., Dense]) -> None:
    told: list[int] = []
    evaluate(data, [dense(progress=told.append)], splits=["dev"])
    assert told == sorted(told)
    assert told[-1] == 60
    told.clear()
    evaluate(data, [dense(progress=told.append)], splits=["dev"])
    assert told == [60]

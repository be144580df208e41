from __future__ import annotations

from corom import bundled


def test_ids_are_unique_and_texts_differ() -> None:
    passages, queries = bundled.passages(), bundled.queries()
    assert len({passage.id for passage in passages}) == len(passages) >= 160
    assert len({passage.text for passage in passages}) == len(passages)
    assert len({query.id for query in queries}) == len(queries) >= 80


def test_every_question_has_an_answer_that_exists() -> None:
    known = {passage.id for passage in bundled.passages()}
    qrels = bundled.qrels()
    assert {qrel.passage_id for qrel in qrels} <= known
    assert {qrel.query_id for qrel in qrels} == {query.id for query in bundled.queries()}
    assert len(set(qrels)) == len(qrels)


def test_texts_are_clean_and_of_mixed_length() -> None:
    lengths = [len(passage.text) for passage in bundled.passages()]
    assert 20 <= min(lengths) < 50
    assert max(lengths) > 200
    for text in [p.text for p in bundled.passages()] + [q.text for q in bundled.queries()]:
        assert text == text.strip()
        assert text.isprintable()


def test_typed_texts_are_many_and_differ() -> None:
    texts = bundled.typed()
    assert len(set(texts)) == len(texts) >= 60
    assert all(text.strip() == text and text.isprintable() for text in texts)
    together = "".join(texts)
    assert all(sign in together for sign in ",;:()。。。、×↑|😊醫")

"""What corom does, in a minute: rank answers, search passages, compare sentences.

    make demo

Everything comes from the package: the model `corom-medical` and 182 medical passages. Nothing is
downloaded. 仅供检索研究，不构成医疗建议 (for research on retrieval; not medical advice).
"""

from __future__ import annotations

import time

import numpy as np

from corom import Encoder, bundled
from corom.similarity import rank_passages, score_matrix

QUESTIONS = (
    "肚子疼一开始在肚脐周围，现在跑到右下边了，按着疼还有点发烧，怎么办",
    "吃降压药以后一直干咳是怎么回事",
    "糖化血红蛋白7.2算糖尿病吗",
)
SENTENCES = ("头疼吃什么药", "头痛用药", "宝宝发烧怎么办", "小儿发热的处理", "肾结石怎么排出来")


def shown(text: str, width: int = 44) -> str:
    """Return the beginning of a text."""
    return text if len(text) <= width else text[: width - 1] + "…"


def main() -> None:
    """Run the three parts."""
    start = time.perf_counter()
    encoder = Encoder.load("corom-medical")
    passages = {passage.id: passage for passage in bundled.passages()}
    print(f"模型 corom-medical：{encoder.dim} 维，{encoder.precision}，{encoder.engine}")

    print("\n一、排序 / rank：上消化道出血手术大约多久")
    candidates = [passages[id_] for id_ in ("2", "9", "1", "40")]
    for hit in rank_passages(encoder, "上消化道出血手术大约多久", candidates):
        print(f"   {hit.score:.3f}  {shown(passages[hit.id].content)}")

    print(f"\n二、检索 / search：{len(passages)} 篇医学文本")
    ids = list(passages)
    vectors = encoder.encode_passages(passage.content for passage in passages.values())
    for question in QUESTIONS:
        before = time.perf_counter()
        scores = vectors @ encoder.encode_queries([question])[0]
        best = np.argsort(-scores)[:3]
        print(f"   问：{question}（{(time.perf_counter() - before) * 1000:.0f} ms）")
        for row in best:
            print(f"   {scores[row]:.3f}  {shown(passages[ids[row]].content)}")

    queries = bundled.queries()
    relevant = {(qrel.query_id, qrel.passage_id) for qrel in bundled.qrels()}
    ranked = np.argsort(-(encoder.encode_queries(q.text for q in queries) @ vectors.T), axis=1)
    found = sum(
        any((query.id, ids[row]) in relevant for row in rows[:3])
        for query, rows in zip(queries, ranked, strict=True)
    )
    print(f"   {len(queries)} 个问题中，{found} 个的答案在前三名。")

    print("\n三、相似度 / similarity（余弦）")
    sentences = encoder.encode_passages(SENTENCES)
    for sentence, row in zip(SENTENCES, score_matrix(sentences, sentences), strict=True):
        print("   " + "  ".join(f"{score:.2f}" for score in row) + f"  {sentence}")
    print(f"\n用时 {time.perf_counter() - start:.1f} 秒。仅供检索研究，不构成医疗建议。")
    print("\n网页 / the page: make serve，然后打开 http://127.0.0.1:8000 （Ctrl-C 结束）")


if __name__ == "__main__":
    main()

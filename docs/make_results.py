"""Put the measured figures into the READMEs and other pages.

    python docs/make_results.py

A block between `<!-- results:NAME -->` and `<!-- /results:NAME -->` is made from
`results/NAME.json` (of `NAME/PART` from its part); tests/test_results.py compares. A result that
was never measured leaves its block empty.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGES = {
    ROOT / "README.md": "zh",
    ROOT / "README.en.md": "en",
    ROOT / "docs/encoding.md": "en",
    ROOT / "docs/indexes.md": "en",
}
"""A page and its language."""

SHOWN = (
    "st-fp32",
    "st-onnx-int8",
    "st-openvino",
    "st-openvino-int8",
    "fastembed",
    "corom-fp32",
    "corom-bf16",
    "corom-int8-openvino",
    "corom-int8",
    "corom-medical",
)
HEADS = {
    "encode": {
        "zh": ["", "段落", "查询", "单条延迟", "冷启动", "峰值内存"],
        "en": ["", "passages", "queries", "one query", "cold start", "peak memory"],
    },
    "fidelity": {
        "zh": ["", "余弦（平均 / 最小）", "前十重合", "MRR@10", "Recall@10"],
        "en": ["", "cosine (mean / least)", "top-10 overlap", "MRR@10", "Recall@10"],
    },
    "serve": {
        "zh": [
            "并发",
            "corom 请求/秒",
            "p99",
            "对 infinity：吞吐",
            "p99",
            "对 FastAPI + ST：吞吐",
            "p99",
        ],
        "en": [
            *("clients", "corom, requests/s", "p99"),
            *("throughput over infinity", "p99", "throughput over FastAPI + ST", "p99"),
        ],
    },
    "parts": {
        "zh": ["", "TCM-QG MRR@10 [95% 区间]", "Recall@10", "consult-dev MRR@10", "huatuo-dev"],
        "en": ["", "TCM-QG MRR@10 [95% interval]", "Recall@10", "consult-dev MRR@10", "huatuo-dev"],
    },
    "score-ranges": {
        "zh": ["余弦", "5%", "25%", "中位数", "75%", "95%"],
        "en": ["cosine", "5%", "25%", "median", "75%", "95%"],
    },
    "model": {
        "zh": ["数据集", "模型", "MRR@10 [95% 区间]", "p", "Recall@1000", "nDCG@10"],
        "en": ["data set", "model", "MRR@10 [95% interval]", "p", "Recall@1000", "nDCG@10"],
    },
    "sizes": {
        "zh": ["维数", "粗排", "每段字节", "查询速度", "consult-dev MRR@10", "huatuo-dev MRR@10"],
        "en": [
            *("dims", "first pass", "bytes a passage", "speed of queries"),
            *("consult-dev MRR@10", "huatuo-dev MRR@10"),
        ],
    },
    "reranker": {
        "zh": ["数据集", "", "MRR@10 [95% 区间]", "p", "每条查询耗时"],
        "en": ["data set", "", "MRR@10 [95% interval]", "p", "a query"],
    },
    "search": {
        "zh": ["", "查询/秒", "倍数 [最小-最大]", "前十相同", "内存：自有 / 映射"],
        "en": ["", "queries/s", "times faiss [least-most]", "same top 10", "memory: own / mapped"],
    },
    "train-speed": {
        "zh": ["批", "精度", "corom 文本/秒", "sentence-transformers 文本/秒", "倍数"],
        "en": ["batch", "precision", "corom, texts/s", "sentence-transformers, texts/s", "ratio"],
    },
}
POINTS = ("p5", "p25", "p50", "p75", "p95")
RANGES = {
    "zh": {
        "consult-dev: its answer": "短标题与它的答案（consult-dev，{n} 对）",
        "consult-dev: another's": "短标题与别人的答案",
        "huatuo-dev: its answer": "患者提问与它的答案（huatuo-dev，{n} 对）",
        "huatuo-dev: another's": "患者提问与别人的答案",
        "same question": "同一意思的两个问题（cmedqq-dev，{n} 对）",
        "other question": "字面相近、意思不同的两个问题（{n} 对）",
    },
    "en": {
        "consult-dev: its answer": "a short title and its answer (consult-dev, {n} pairs)",
        "consult-dev: another's": "a short title and another's answer",
        "huatuo-dev: its answer": "a patient's question and its answer (huatuo-dev, {n} pairs)",
        "huatuo-dev: another's": "a patient's question and another's answer",
        "same question": "two questions of one meaning (cmedqq-dev, {n} pairs)",
        "other question": "two questions alike in words, not in meaning ({n} pairs)",
    },
}
NOTES = {
    "encode": {
        "zh": "12 层 × 768 的 BERT（`corom-medical` 行是内置的 4 层模型），{threads} 线程，"
        "真实医疗文本，最长 128 词元；倍数相对 sentence-transformers fp32，"
        "取 {rounds} 轮配对的中位数"
        "（[docs/benchmarks.md](docs/benchmarks.md)，`make bench-encode`）。"
        "芯片是没有 AMX 的 Intel Xeon；在 AMD Zen 5 上，int8 还由 OpenVINO 计算时"
        "（现为 `corom-int8-openvino`）段落 {passages:.1f} 倍、查询 {queries:.1f} 倍、"
        "单条 {latency:.1f} 倍（`results/encode-zen5.json`）。",
        "en": "A BERT of 12 layers x 768 (`corom-medical`: the embedded 4-layer model), {threads} "
        "threads, real medical text of at most 128 tokens; times faster than "
        "sentence-transformers fp32, medians of {rounds} paired rounds "
        "([docs/benchmarks.md](docs/benchmarks.md), `make bench-encode`). On an Intel Xeon without "
        "AMX; on an AMD Zen 5, when int8 was OpenVINO's there, too (now `corom-int8-openvino`), "
        "passages {passages:.1f}x, queries {queries:.1f}x, one query {latency:.1f}x "
        "(`results/encode-zen5.json`).",
    },
    "fidelity": {
        "zh": "基础权重在 open-medical 全库（133,780 段）上，与 fp32 相比"
        "（`benchmarks/bench_fidelity.py`）。",
        "en": "The base weights on the whole of open-medical (133,780 passages), against fp32 "
        "(`benchmarks/bench_fidelity.py`).",
    },
    "sizes": {
        "zh": "`corom-medical` 在 open-medical 全库上更小的形式：只取前若干维；"
        "粗排只读 int8 或每维 1 比特，最好的一批再用 fp32 重新计分；"
        "速度相对第一行（`benchmarks/model_sizes.py`）。",
        "en": "`corom-medical` in less room, over the whole of open-medical: its first dimensions; "
        "a first pass that reads int8 or one bit a number, its best scored again in fp32. Speed "
        "beside the first row (`benchmarks/model_sizes.py`).",
    },
    "reranker": {
        "zh": "`models/corom-medical-reranker` 重排全库检索的前 {depth} 段（与问题一起读），"
        "两种分数各占 {share:.0%}，int8，两核（`corom evaluate ../shared/data/eval/open-medical "
        "--split consult-dev --split huatuo-dev --precision int8 --normalize --depth 100 "
        "--measure MRR@10 --rerank models/corom-medical-reranker --rerank-depth {depth}`）。"
        "这里由 corom 的内核计算（无 AMX 的 Xeon），上表由 OpenVINO 计算，故首行略有出入。",
        "en": "`models/corom-medical-reranker` reads the first {depth} hits of the whole corpus "
        "with the query; its scores count {share:.0%}; int8, two cores "
        "(`corom evaluate ../shared/data/eval/open-medical "
        "--split consult-dev --split huatuo-dev --precision int8 --normalize --depth 100 "
        "--measure MRR@10 --rerank models/corom-medical-reranker --rerank-depth {depth}`). "
        "Computed by corom's kernels (a Xeon without AMX), the tables above by OpenVINO: hence the "
        "small difference.",
    },
    "serve": {
        "zh": "同一个 12 层 × 768 的模型、长短不一的文本、一次一条，取 {rounds} 轮的中位数，"
        "无 AMX 的 Intel Xeon；"
        "corom 用 int8，另两个用 fp32"
        "（[docs/benchmarks.md](docs/benchmarks.md#serving)，`make bench-serve`）。"
        "十倍过载 {seconds:.0f} 秒：{asked:,} 个请求都有应答，{good:,} 个返回向量，其余返回 429，"
        "内存 {before:.0f} → {peak:.0f} MB，{recovery:.1f} 秒恢复。",
        "en": "One model of 12 layers x 768, texts of mixed lengths, one a request, medians of "
        "{rounds} rounds, on an Intel Xeon without AMX; corom in int8, the others in fp32 "
        "([docs/benchmarks.md](docs/benchmarks.md#serving), `make bench-serve`). "
        "Ten times overloaded for {seconds:.0f} s: none of {asked:,} requests unanswered, {good:,} "
        "with vectors and the rest with 429, memory "
        "{before:.0f} to {peak:.0f} MB, recovered in {recovery:.1f} s.",
    },
    "parts": {
        "zh": "`corom-medical`，int8。TCM-QG：{questions:,} 个问题问的是较长文本里的细节，"
        "全库 {passages:,} 段，模型训练时见过其中一部分问题，故只宜比较各行；"
        "consult-dev、huatuo-dev 的段落本身就是一个答案（`benchmarks/part_sizes.py`）。",
        "en": "`corom-medical` in int8. TCM-QG: {questions:,} questions about details of longer "
        "texts, {passages:,} in all; the model was trained on some of these questions, so only "
        "compare rows; a passage of consult-dev and huatuo-dev is an answer "
        "(`benchmarks/part_sizes.py`).",
    },
    "score-ranges": {
        "zh": "模型 `{model}`（`benchmarks/score_ranges.py`）。判断“是不是同一个问题”，"
        "最佳阈值是 {threshold:.2f}，在 cmedqq-dev 上准确率 {accuracy:.0%}。",
        "en": "Of `{model}` (`benchmarks/score_ranges.py`). The best threshold for "
        '"is this the same question?" is {threshold:.2f}, right for {accuracy:.0%} of cmedqq-dev.',
    },
    "search": {
        "zh": "{passages:,} × {dim} 的向量，{queries:,} 条查询各取前 {k}，无 AMX 的 Intel Xeon，"
        "2 线程；查询/秒取最快一轮，"
        "倍数取 {rounds} 轮配对的中位数"
        "（[docs/indexes.md](docs/indexes.md)，`make bench-search`）。",
        "en": "{passages:,} vectors of {dim} numbers, the best {k} of {queries:,} queries, an "
        "Intel Xeon without AMX, 2 threads; queries/s of the fastest round, ratios medians of "
        "{rounds} paired rounds ([docs/indexes.md](docs/indexes.md), `make bench-search`).",
    },
    "train-speed": {
        "zh": "训练速度：bge-small-zh-v1.5，最长 {length} 词元，InfoNCE"
        "（批内负例加一个难负例），{threads} 线程 CPU，{rounds} 轮配对的中位数"
        "（`benchmarks/bench_train.py`）。AMD Zen 5；没有 AMX 的 Intel Xeon 上（同时有其他负载），"
        "批 {batch}、fp32 为 {xeon:.2f}x（`results/train-speed-xeon.json`）。",
        "en": "Training: bge-small-zh-v1.5, at most {length} tokens, InfoNCE "
        "(in-batch and one hard negative), {threads} CPU threads, medians of {rounds} paired "
        "rounds (`benchmarks/bench_train.py`). On an AMD Zen 5; {xeon:.2f}x on an Intel Xeon "
        "without AMX beside other work, batch {batch}, fp32 (`results/train-speed-xeon.json`).",
    },
}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def encode(data: dict[str, Any], language: str) -> str:
    """Return the table of the encode benchmark."""
    rows = []
    for row in data["tables"]["st-fp32"]:
        if row["name"] not in SHOWN:
            continue
        once = data["once"][row["name"]]
        cold = sorted(once["cold_seconds"])
        rows.append(
            [
                f"`{row['name']}`",
                *(f"{row[of]['median']:.1f}x" for of in ("passages", "queries", "latency")),
                f"{cold[len(cold) // 2]:.1f} s" if cold else "-",
                f"{row['peak_mb']:.0f} MB",
            ]
        )
    note = NOTES["encode"][language].format_map({**data["settings"], **_on_zen5()})
    return f"{note}\n\n{table(HEADS['encode'][language], rows)}"


def _on_zen5() -> dict[str, float]:
    """Return what OpenVINO's int8 reached on the other chip, in times sentence-transformers."""
    data = json.loads((ROOT / "results/encode-zen5.json").read_text(encoding="utf-8"))
    (row,) = (row for row in data["tables"]["st-fp32"] if row["name"] == "corom-int8")
    return {of: row[of]["median"] for of in ("passages", "queries", "latency")}


def fidelity(data: dict[str, Any], language: str) -> str:
    """Return the table of what the faster precisions keep."""
    rows = []
    for precision, found in data["precisions"].items():
        splits = {name: value for name, value in found.items() if name != "passage_cosine"}
        cosine = found["passage_cosine"]
        for split, value in splits.items():
            rows.append(
                [
                    f"{precision}, {split}",
                    f"{cosine['mean']:.5f} / {cosine['min']:.5f}",
                    f"{value['top10_overlap']:.1%}",
                    f"{value['MRR@10']:.4f}",
                    f"{value['Recall@10']:.4f}",
                ]
            )
    return f"{NOTES['fidelity'][language]}\n\n{table(HEADS['fidelity'][language], rows)}"


def score_ranges(data: dict[str, Any], language: str) -> str:
    """Return the table of typical cosines, and the best threshold for "the same question"."""
    rows = [
        [label.format(**data["cosine"][name]), *(f"{data['cosine'][name][p]:.2f}" for p in POINTS)]
        for name, label in RANGES[language].items()
    ]
    best = data["same question"]
    note = NOTES["score-ranges"][language].format(model=data["model"], **best)
    return f"{table(HEADS['score-ranges'][language], rows)}\n\n{note}"


def train_speed(data: dict[str, Any], language: str) -> str:
    """Return the table of training speed against sentence-transformers."""
    large, xeon = (
        json.loads((ROOT / f"results/train-speed-{name}.json").read_text(encoding="utf-8"))
        for name in ("large", "xeon")
    )
    rows = [*_speeds(data), *_speeds(large)]
    # A run that was cut short keeps the rounds it finished.
    rounds = min(len(found["ratios"]) for found in data["precisions"].values())
    threads = data["machine"]["threads_used"]
    known = {**data["options"], "rounds": rounds, "threads": threads}
    known["xeon"] = statistics.median(xeon["precisions"]["fp32"]["ratios"])
    note = NOTES["train-speed"][language].format(**known)
    return f"{note}\n\n{table(HEADS['train-speed'][language], rows)}"


def _speeds(data: dict[str, Any]) -> list[list[str]]:
    """Return a row for each precision: medians, and the ratio with its least and greatest."""
    rows = []
    for precision, found in data["precisions"].items():
        speeds = (statistics.median(values) for values in found["texts_per_s"].values())
        ratios = sorted(found["ratios"])
        ratio = f"{statistics.median(ratios):.2f}x [{ratios[0]:.2f}-{ratios[-1]:.2f}]"
        own = [f"{data['options']['batch']}", precision]
        rows.append([*own, *(f"{speed:.1f}" for speed in speeds), ratio])
    return rows


def _kind(name: str, language: str) -> str:
    if language == "en":
        return name
    name = re.sub(r"parts of (\d+)", r"每段至多 \1 词元", name).replace("whole", "整篇")
    return re.sub(r", (\d+) repeated", r"，重叠 \1", name).replace(", 512 tokens", "，512 词元")


def parts(data: dict[str, Any], language: str) -> str:
    """Return the table of long texts as they are and cut into parts."""
    asked, general = data["reports"]
    whole = {
        (each["model"], each["split"]): f"{100 * each['metrics']['MRR@10']:.2f}"
        for each in general["results"]
    }
    rows = []
    for each in asked["results"]:
        low, high = each["intervals"]["MRR@10"]
        metrics = each["metrics"]
        rows.append(
            [
                _kind(each["model"], language),
                f"{100 * metrics['MRR@10']:.2f} [{100 * low:.1f}-{100 * high:.1f}]",
                f"{100 * metrics['Recall@10']:.2f}",
                whole.get((each["model"], "consult-dev"), ""),
                whole.get((each["model"], "huatuo-dev"), ""),
            ]
        )
    note = NOTES["parts"][language].format(
        passages=asked["dataset"]["passages"], questions=asked["results"][0]["queries"]
    )
    return f"{note}\n\n{table(HEADS['parts'][language], rows)}"


def model(data: dict[str, Any], language: str) -> str:
    """Return the table of what training did, and a line of the AUC on pairs."""
    return _model(data, language, lambda _: True)


def model_in_short(data: dict[str, Any], language: str) -> str:
    """Return the same of the shipped model, of what it began with, and of words."""
    return _model(data, language, {"bm25", "base", "corom-medical"}.__contains__)


def _model(data: dict[str, Any], language: str, shown: Callable[[str], bool]) -> str:
    rows = []
    for name in ("open-medical", "cmedir-titles"):
        for found in data["sets"][name]["results"]:
            if not shown(found["model"]):
                continue
            value, (low, high) = found["metrics"], found["intervals"]["MRR@10"]
            test = found.get("versus", {}).get("MRR@10")
            rows.append(
                [
                    f"{name} / {found['split']}",
                    found["model"],
                    f"{value['MRR@10']:.4f} [{low:.4f}-{high:.4f}]",
                    f"{test['p_value']:.4f}" if test else "",
                    f"{value['Recall@1000']:.4f}",
                    f"{value['nDCG@10']:.4f}",
                ]
            )
    pairs = [
        f"{found['split']} {found['model']} {found['metrics']['AUC']:.3f}"
        for found in data["sets"]["question-pairs"]["results"]
        if shown(found["model"])
    ]
    return f"{table(HEADS['model'][language], rows)}\n\nAUC: {', '.join(pairs)}."


def reranker(data: dict[str, Any], language: str) -> str:
    """Return the table of what a reranker adds."""
    rows, settings = [], data["results"][-1]["settings"]
    for found in data["results"]:
        value, (low, high) = found["metrics"]["MRR@10"], found["intervals"]["MRR@10"]
        test = found.get("versus", {}).get("MRR@10")
        seconds = found["seconds"]["searching"] / found["queries"]
        rows.append(
            [
                f"{data['dataset']['name']} / {found['split']}",
                {"zh": "+ 重排", "en": "+ reranker"}[language] if test else found["model"],
                f"{value:.4f} [{low:.4f}-{high:.4f}]",
                f"{test['p_value']:.4f}" if test else "",
                f"{1000 * seconds:.0f} ms",
            ]
        )
    note = NOTES["reranker"][language].format(
        depth=settings["rerank_depth"], share=settings["rerank_share"]
    )
    return f"{note}\n\n{table(HEADS['reranker'][language], rows)}"


def search(data: dict[str, Any], language: str) -> str:
    """Return the table of exact search."""
    rows = []
    for row in data["exact"]["rows"]:
        ratio, memory = row["times_faiss"], row["memory_mb"]
        rows.append(
            [
                f"`{row['engine']}`",
                f"{row['queries_per_second']:.0f}",
                f"{ratio['median']:.1f}x [{ratio['least']:.1f}-{ratio['most']:.1f}]",
                f"{row['same_top_10']:.1%}",
                f"{memory['own']:,.0f} / {memory['mapped']:,.0f} MB",
            ]
        )
    note = NOTES["search"][language].format(**data["exact"]["options"])
    return f"{note}\n\n{table(HEADS['search'][language], rows)}"


NEAR = {
    "faiss HNSW32": "faiss `IndexHNSWFlat`",
    "corom HNSW": '`hnsw` (`storage="sq8"`)',
    "corom HNSW, float32": '`hnsw`, `storage="float32"`',
    "corom IVF-PQ": "`ivfpq`",
}


def near(data: dict[str, Any], _: str) -> str:
    """Return the table of graphs and lists; it is in a page of one language."""
    rows, engine = [], ""
    for row in data["near"]["rows"]:
        ratio = row["times_faiss"]
        first, engine = row["engine"] != engine, row["engine"]
        rows.append(
            [
                NEAR[engine] if first else "",
                f"{row['effort']}",
                f"{row['recall_at_10']:.1%}",
                f"{row['queries_per_second']:,.0f}",
                f"{ratio['median']:.2f} [{ratio['least']:.2f}-{ratio['most']:.2f}]",
                f"{row['build_seconds']:.0f} s" if first else "",
                f"{row['memory_mb']['own']:.0f} MB" if first else "",
            ]
        )
    head = [
        "",
        "effort",
        "recall@10",
        "queries/s",
        "times faiss [least-most]",
        "built in",
        "memory",
    ]
    return table(head, rows)


def bm25(data: dict[str, Any], _: str) -> str:
    """Return the table of engines that rank by words; it is in a page of one language."""
    head = ["", "built in, peak memory", "on disk", "start", "memory: own / mapped"]
    names = {"corom": "`bm25`, words (tantivy)", "corom, bigrams": "`bm25`, bigrams (tantivy)"}
    rows = []
    for row in data["rows"]:
        build, memory, seconds = row["build"], row["memory_mb"]["searched"], row["search_seconds"]
        rows.append(
            [
                names.get(row["engine"], row["engine"]),
                f"{build['seconds']:.0f} s, {build['memory_mb']['peak']:,.0f} MB",
                f"{build['disk_mb']:.0f} MB",
                f"{statistics.median(row['start_seconds']):.1f} s",
                f"{memory['own']:.0f} / {memory['mapped']:.0f} MB",
                *(_both(seconds, f"to {depth}", 1, "s") for depth in (10, 100, 1000)),
                _both(seconds, "one by one", 1000, "ms"),
            ]
        )
    asked = ["1,000 queries to 10", "to 100", "to 1000", "one query to 10"]
    return table([*head, *asked], rows)


def _both(seconds: dict[str, list[float]], asked: str, times: int, unit: str) -> str:
    """Return the medians of the two splits."""
    found = (
        statistics.median(seconds[f"{split} {asked}"]) for split in ("consult-dev", "huatuo-dev")
    )
    return " / ".join(f"{times * each:.{1 if times > 1 else 2}f}" for each in found) + f" {unit}"


def serve(data: dict[str, Any], language: str) -> str:
    """Return the table of the load test, and what came of an overload."""
    rows = []
    for row in data["servers"]["corom-int8"]:
        ratios = [
            f"{row[f'{what}_over_{peer}']['median']:{form}}x"
            for peer in ("infinity", "plain")
            for what, form in (("throughput", ".1f"), ("p99", ".2f"))
        ]
        own = [f"{row['clients']}", f"{row['per_second']:.1f}", f"{row['p99_ms']:.0f} ms"]
        rows.append([*own, *ratios])
    single = data["overload"][0]
    note = NOTES["serve"][language].format(
        rounds=data["settings"]["rounds"],
        seconds=data["settings"]["overload_seconds"],
        asked=single["asked"] - single["unanswered"],
        good=single["statuses"]["200"],
        before=single["memory_before_mb"],
        peak=single["memory_peak_mb"],
        recovery=single["recovery_s"],
    )
    return f"{table(HEADS['serve'][language], rows)}\n\n{note}"


def _pass(row: dict[str, Any]) -> str:
    encoded = "" if row["model"] == "int8" else f" (encoder {row['model']})"
    return f"{row['first pass']}{encoded}"


def sizes(data: dict[str, Any], language: str) -> str:
    """Return the table of dimensions and first passes: size, speed, quality."""
    judged = [f"{split} MRR@10" for split in ("consult-dev", "huatuo-dev")]
    rows = [
        [
            *(str(row["dims"]), _pass(row), f"{row['bytes a passage']:.0f}"),
            f"{row['times the first']:.1f}x",
            *(f"{100 * row[name]:.2f}" for name in judged),
        ]
        for row in data["rows"]
    ]
    return f"{NOTES['sizes'][language]}\n\n{table(HEADS['sizes'][language], rows)}"


BLOCKS: dict[str, Callable[[dict[str, Any], str], str]] = {
    "encode": encode,
    "fidelity": fidelity,
    "score-ranges": score_ranges,
    "train-speed": train_speed,
    "model": model_in_short,
    "reranker": reranker,
    "parts": parts,
    "serve": serve,
    "search": search,
    "search/near": near,
    "bm25": bm25,
}


def filled(page: str, language: str) -> str:
    """Return `page` with every block made anew."""
    for name, make in BLOCKS.items():
        path = ROOT / "results" / f"{name.partition('/')[0]}.json"
        text = (
            make(json.loads(path.read_text(encoding="utf-8")), language) if path.is_file() else ""
        )
        begin, end = f"<!-- results:{name} -->", f"<!-- /results:{name} -->"
        block = f"{begin}\n{text}\n{end}" if text else f"{begin}\n{end}"
        page = re.sub(f"{begin}.*?{end}", lambda _, block=block: block, page, flags=re.DOTALL)
    return page


if __name__ == "__main__":
    for path, language in PAGES.items():
        path.write_text(filled(path.read_text(encoding="utf-8"), language), encoding="utf-8")

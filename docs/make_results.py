"""Put the measured figures into the READMEs and other pages.

    python docs/make_results.py

A block between `<!-- results:NAME -->` and `<!-- /results:NAME -->` is made from
`results/NAME.json` (of `NAME/PART` from its part) and the words of make_results.toml;
tests/test_results.py compares.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from corom.files import read_json

ROOT = Path(__file__).parents[1]
PAGES = {
    ROOT / "README.md": "zh",
    ROOT / "README.en.md": "en",
    ROOT / "docs/encoding.md": "en",
    ROOT / "docs/indexes.md": "en",
}
"""A page and its language."""

SHOWN = (
    *("st-fp32", "st-onnx-int8", "st-openvino", "st-openvino-int8", "fastembed"),
    *("corom-fp32", "corom-bf16", "corom-int8-openvino", "corom-int8", "corom-medical"),
)
"""The back ends of the encode benchmark that are in the table."""
POINTS = ("p5", "p25", "p50", "p75", "p95")
WORDS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
"""By block and language: `head`, `note` and, of some, what its `rows` are called."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def block(
    name: str,
    language: str,
    rows: Sequence[Sequence[str]],
    *,
    below: bool = False,
    **known: float | str,
) -> str:
    """Return the table of a result, and above it (or `below`) its note with what is `known`."""
    words = WORDS[name][language]
    parts = [words.get("note", "").format(**known), table(words["head"], rows)]
    return "\n\n".join(filter(None, reversed(parts) if below else parts))


def encode(data: dict[str, Any], language: str) -> str:
    """Return the table of the encode benchmark."""
    rows = []
    for row in data["tables"]["st-fp32"]:
        if row["name"] not in SHOWN:
            continue
        cold = data["once"][row["name"]]["cold_seconds"]
        rows.append(
            [
                f"`{row['name']}`",
                *(f"{row[of]['median']:.1f}x" for of in ("passages", "queries", "latency")),
                f"{median(cold):.1f} s" if cold else "-",
                f"{row['peak_mb']:.0f} MB",
            ]
        )
    settings = {name: data["settings"][name] for name in ("threads", "rounds")}
    return block("encode", language, rows, **settings, **_on_zen5())


def _on_zen5() -> dict[str, float]:
    """Return what OpenVINO's int8 reached on the other chip, in times sentence-transformers."""
    data = read_json(ROOT / "results/encode-zen5.json")
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
    return block("fidelity", language, rows)


def score_ranges(data: dict[str, Any], language: str) -> str:
    """Return the table of typical cosines, and the best threshold for "the same question"."""
    rows = [
        [label.format(**data["cosine"][name]), *(f"{data['cosine'][name][p]:.2f}" for p in POINTS)]
        for name, label in WORDS["score-ranges"][language]["rows"].items()
    ]
    best = data["same question"]
    return block("score-ranges", language, rows, below=True, model=data["model"], **best)


def train_speed(data: dict[str, Any], language: str) -> str:
    """Return the table of training speed against sentence-transformers."""
    large, xeon = (
        read_json(ROOT / f"results/train-speed-{name}.json") for name in ("large", "xeon")
    )
    rows = [*_speeds(data), *_speeds(large)]
    # A run that was cut short keeps the rounds it finished.
    rounds = min(len(found["ratios"]) for found in data["precisions"].values())
    threads = data["machine"]["threads_used"]
    known = {**data["options"], "rounds": rounds, "threads": threads}
    known["xeon"] = median(xeon["precisions"]["fp32"]["ratios"])
    return block("train-speed", language, rows, **known)


def _speeds(data: dict[str, Any]) -> list[list[str]]:
    """Return a row for each precision: medians, and the ratio with its least and greatest."""
    rows = []
    for precision, found in data["precisions"].items():
        speeds = (median(values) for values in found["texts_per_s"].values())
        ratios = sorted(found["ratios"])
        ratio = f"{median(ratios):.2f}x [{ratios[0]:.2f}-{ratios[-1]:.2f}]"
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
    known = {
        "passages": asked["dataset"]["passages"],
        "questions": asked["results"][0]["queries"],
    }
    return block("parts", language, rows, **known)


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
            value, tested = found["metrics"], _tested(found)
            others = (f"{value[measure]:.4f}" for measure in ("Recall@1000", "nDCG@10"))
            rows.append([f"{name} / {found['split']}", found["model"], *tested, *others])
    pairs = [
        f"{found['split']} {found['model']} {found['metrics']['AUC']:.3f}"
        for found in data["sets"]["question-pairs"]["results"]
        if shown(found["model"])
    ]
    return f"{block('model', language, rows)}\n\nAUC: {', '.join(pairs)}."


def _tested(found: dict[str, Any]) -> list[str]:
    """Return MRR@10 with its interval, and how surely it is another than the first model's."""
    value, (low, high) = found["metrics"]["MRR@10"], found["intervals"]["MRR@10"]
    test = found.get("versus", {}).get("MRR@10")
    p = f"{test['p_value']:.4f}" if test else ""
    return [f"{value:.4f} [{low:.4f}-{high:.4f}]", p]


def reranker(data: dict[str, Any], language: str) -> str:
    """Return the table of what a reranker adds."""
    rows, settings = [], data["results"][-1]["settings"]
    for found in data["results"]:
        seconds = found["seconds"]["searching"] / found["queries"]
        place = f"{data['dataset']['name']} / {found['split']}"
        model = WORDS["reranker"][language]["rows"].get(found["model"], found["model"])
        rows.append([place, model, *_tested(found), f"{1000 * seconds:.0f} ms"])
    known = {"depth": settings["rerank_depth"], "share": settings["rerank_share"]}
    return block("reranker", language, rows, **known)


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
    return block("search", language, rows, **data["exact"]["options"])


def near(data: dict[str, Any], language: str) -> str:
    """Return the table of graphs and lists."""
    rows, engine, names = [], "", WORDS["search/near"][language]["rows"]
    for row in data["near"]["rows"]:
        ratio = row["times_faiss"]
        first, engine = row["engine"] != engine, row["engine"]
        rows.append(
            [
                names[engine] if first else "",
                f"{row['effort']}",
                f"{row['recall_at_10']:.1%}",
                f"{row['queries_per_second']:,.0f}",
                f"{ratio['median']:.2f} [{ratio['least']:.2f}-{ratio['most']:.2f}]",
                f"{row['build_seconds']:.0f} s" if first else "",
                f"{row['memory_mb']['own']:.0f} MB" if first else "",
            ]
        )
    return block("search/near", language, rows)


def bm25(data: dict[str, Any], language: str) -> str:
    """Return the table of engines that rank by words."""
    rows, names = [], WORDS["bm25"][language]["rows"]
    for row in data["rows"]:
        build, memory, seconds = row["build"], row["memory_mb"]["searched"], row["search_seconds"]
        rows.append(
            [
                names.get(row["engine"], row["engine"]),
                f"{build['seconds']:.0f} s, {build['memory_mb']['peak']:,.0f} MB",
                f"{build['disk_mb']:.0f} MB",
                f"{median(row['start_seconds']):.1f} s",
                f"{memory['own']:.0f} / {memory['mapped']:.0f} MB",
                *(_both(seconds, f"to {depth}", 1, "s") for depth in (10, 100, 1000)),
                _both(seconds, "one by one", 1000, "ms"),
            ]
        )
    return block("bm25", language, rows)


def _both(seconds: dict[str, list[float]], asked: str, times: int, unit: str) -> str:
    """Return the medians of the two splits."""
    found = (median(seconds[f"{split} {asked}"]) for split in ("consult-dev", "huatuo-dev"))
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
    return block(
        "serve",
        language,
        rows,
        below=True,
        rounds=data["settings"]["rounds"],
        seconds=data["settings"]["overload_seconds"],
        asked=single["asked"] - single["unanswered"],
        good=single["statuses"]["200"],
        before=single["memory_before_mb"],
        peak=single["memory_peak_mb"],
        recovery=single["recovery_s"],
    )


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
    return block("sizes", language, rows)


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
        begin, end = f"<!-- results:{name} -->", f"<!-- /results:{name} -->"
        if begin in page:
            found = read_json(ROOT / "results" / f"{name.partition('/')[0]}.json")
            before, after = page.split(begin)[0], page.split(end)[1]
            page = f"{before}{begin}\n{make(found, language)}\n{end}{after}"
    return page


if __name__ == "__main__":
    for path, language in PAGES.items():
        path.write_text(filled(path.read_text(encoding="utf-8"), language), encoding="utf-8")

"""The model card of a trained model, in Chinese and English, from what the run noted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from corom.files import read_json
from corom.models.checkpoint import Checkpoint
from corom.models.config import Encoding
from corom.training.provenance import DATA, SETTINGS

_HEAD = """\
---
language:
- zh
license: {licence}
library_name: sentence-transformers
pipeline_tag: {task}
tags:
- sentence-transformers
{tags}
- medical
---

# {name}

中文医疗{zh}，由 corom 训练。仅供检索研究，不构成医疗建议。

A Chinese medical {en} trained with corom. For retrieval research; not medical advice.
"""
_USE = """\
## 使用 / How to load

```python
from corom import Encoder

encoder = Encoder.load("PATH/TO/THIS/FOLDER")
vectors = encoder.encode_queries(["上消化道出血手术大约多久"])
```

文件夹也可由 sentence-transformers 与 ModelScope 读取。
sentence-transformers and ModelScope read the folder too.
"""
_LIMITS = """\
## 局限 / Limits

训练数据的偏差、噪声与使用条款同样适用于本模型；其他领域的文本效果会下降，请先自行评测。
The biases, the noise and the terms of the data hold for the model too; on texts of other domains
it does worse: measure before use.
"""


_RERANKER_USE = """\
## 使用 / How to load

```python
from corom import Reranker

reranker = Reranker.load("PATH/TO/THIS/FOLDER")
scores = reranker.score(["胃胀怎么办"], ["胃胀可以先调整饮食，必要时做胃镜。"])
```

文件夹也可由 sentence-transformers 的 CrossEncoder 读取。
sentence-transformers' CrossEncoder reads the folder too.
"""


class _Kind(NamedTuple):
    """What a card says of all models of a kind."""

    zh: str
    en: str
    task: str
    tags: tuple[str, ...]
    use: str


_ENCODER = _Kind(
    "文本表示模型",
    "text encoder",
    "sentence-similarity",
    ("sentence-similarity", "feature-extraction"),
    _USE,
)
_RERANKER = _Kind(
    "文本重排模型（交叉编码器）",
    "reranker (cross-encoder)",
    "text-ranking",
    ("cross-encoder", "reranker"),
    _RERANKER_USE,
)


def model_card(
    folder: Path, *, base: Checkpoint, encoding: Encoding, final_dev: float | None
) -> str:
    """Return the README.md of the model trained in `folder`.

    Data and settings are those in settings.json and data.json; the licence is what the settings
    say, else a note that the terms of the data and of the base model hold.
    """
    settings = read_json(folder / SETTINGS)["settings"]
    facts = [
        *_base_facts(base),
        ("池化", "Pooling", encoding.pooling),
        ("相似度", "Similarity", "余弦 / cosine" if encoding.normalize else "点积 / dot product"),
        ("最大长度", "Longest text", f"{encoding.max_length} tokens"),
        ("开发集", "Dev set", _figure(settings, final_dev)),
    ]
    return _card(folder, _ENCODER, facts, licence=settings["finish"]["licence"])


def reranker_card(
    folder: Path, *, base: Checkpoint, max_length: int, final_dev: float | None
) -> str:
    """Return the README.md of the cross-encoder trained in `folder`, as `model_card` does."""
    settings = read_json(folder / SETTINGS)["settings"]
    facts = [
        *_base_facts(base),
        ("最大长度", "Longest pair", f"{max_length} tokens"),
        ("开发集", "Dev set", _figure(settings, final_dev)),
    ]
    return _card(folder, _RERANKER, facts, licence=settings["licence"])


def _card(folder: Path, kind: _Kind, facts: Sequence[tuple[str, str, str]], *, licence: str) -> str:
    made = read_json(folder / SETTINGS)
    data = read_json(folder / DATA) if (folder / DATA).exists() else {}
    head = _HEAD.format(
        licence=licence or "other",
        task=kind.task,
        tags="\n".join(f"- {tag}" for tag in kind.tags),
        name=folder.resolve().name,
        zh=kind.zh,
        en=kind.en,
    )
    parts = (
        head,
        _table([*facts, *_terms(licence, made)]),
        kind.use,
        _data(made["inputs"], data),
        f"## 设置 / Settings\n\n{_json(made['settings'])}",
        f"## 版本 / Versions\n\n{_json(made['versions'])}",
        _LIMITS,
    )
    return "\n".join(parts)


def _base_facts(base: Checkpoint) -> list[tuple[str, str, str]]:
    return [
        ("基础模型", "Base model", f"`{base.name}` (`{base.fingerprint}`)"),
        ("结构", "Shape", f"BERT, {base.shape.layers} × {base.shape.hidden}"),
    ]


def _terms(licence: str, made: dict[str, Any]) -> list[tuple[str, str, str]]:
    terms = licence or "见数据与基础模型的条款 / the terms of data and base model"
    return [("许可", "Licence", terms), ("代码提交", "Commit", made["git"] or "-")]


def _table(facts: Sequence[tuple[str, str, str]]) -> str:
    rows = "\n".join(f"| {zh} / {en} | {value} |" for zh, en, value in facts)
    return f"| | |\n|---|---|\n{rows}\n"


def _data(inputs: dict[str, str], data: dict[str, Any]) -> str:
    """Return the section on what the model was trained with."""
    rows = "\n".join(f"| `{name}` | `{checksum}` |" for name, checksum in inputs.items())
    return f"""\
## 数据 / Data

| 文件 / file | SHA-256 (数据/data), fingerprint (模型/model) |
|---|---|
{rows}

{_json(data)}"""


def _figure(settings: dict[str, Any], final_dev: float | None) -> str:
    if final_dev is None:
        return "未评测 / not evaluated"
    dev = settings["dev"]
    if "depth" in dev:
        among = f"首轮检索的前 {dev['depth']} 个结果 / the first hits of a first search"
    elif (most := dev["max_passages"]) is None:
        among = "全部段落 / all passages"
    else:
        among = f"{most} 个其他段落 / other passages"
    where = f"`{dev['folder']}` {dev['queries']}, {among}"
    return f"{dev['measure']} {100 * final_dev:.2f} ({where})"


def _json(value: Any) -> str:  # noqa: ANN401 - plain JSON
    return f"```json\n{json.dumps(value, ensure_ascii=False, indent=1)}\n```\n"

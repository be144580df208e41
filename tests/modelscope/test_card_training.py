"""The training code of the CoROM medical card, with nothing changed but its import lines."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corom import Encoder
from corom.models.checkpoint import Checkpoint
from corom.modelscope import Tasks, pipeline

pytest.importorskip("accelerate")
pytestmark = pytest.mark.torch

MODEL = "damo/nlp_corom_sentence-embedding_chinese-base-medical"

# Source: modelscope.cn, model card of MODEL (Apache-2.0), its three import lines replaced.
CARD = """
# 需在GPU环境运行
# 加载数据集过程可能由于网络原因失败，请尝试重新运行代码
from corom.modelscope import Trainers
from corom.modelscope import MsDataset
from corom.modelscope import build_trainer
import tempfile
import os

tmp_dir = tempfile.TemporaryDirectory().name
if not os.path.exists(tmp_dir):
    os.makedirs(tmp_dir)

# load dataset
ds = MsDataset.load('dureader-retrieval-ranking', 'zyznull')
train_ds = ds['train'].to_hf_dataset()
dev_ds = ds['dev'].to_hf_dataset()
model_id = 'damo/nlp_corom_sentence-embedding_chinese-base-medical'
def cfg_modify_fn(cfg):
    cfg.task = 'sentence-embedding'
    cfg['preprocessor'] = {'type': 'sentence-embedding','max_length': 256}
    cfg['dataset'] = {
        'train': {
            'type': 'bert',
            'query_sequence': 'query',
            'pos_sequence': 'positive_passages',
            'neg_sequence': 'negative_passages',
            'text_fileds': ['text'],
            'qid_field': 'query_id'
        },
        'val': {
            'type': 'bert',
            'query_sequence': 'query',
            'pos_sequence': 'positive_passages',
            'neg_sequence': 'negative_passages',
            'text_fileds': ['text'],
            'qid_field': 'query_id'
        },
    }
    cfg['train']['neg_samples'] = 4
    cfg['evaluation']['dataloader']['batch_size_per_gpu'] = 30
    cfg.train.max_epochs = 1
    cfg.train.train_batch_size = 4
    return cfg 
kwargs = dict(
    model=model_id,
    train_dataset=train_ds,
    work_dir=tmp_dir,
    eval_dataset=dev_ds,
    cfg_modify_fn=cfg_modify_fn)
trainer = build_trainer(name=Trainers.nlp_sentence_embedding_trainer, default_args=kwargs)
trainer.train()
"""  # noqa: W291 - the card's own

WORDS = ("糖尿病", "高血压", "头痛", "发热", "咳嗽", "出血", "心肺", "肝肾", "胃肠", "消化道")


def _rows(count: int) -> list[dict[str, Any]]:
    """Return rows in the form of DuReader-retrieval: no titles."""
    answers = [f"{WORDS[n % 10]}患者要{'多' * (n // 10)}休息" for n in range(count)]
    return [
        {
            "query_id": str(n),
            "query": f"{WORDS[n % 10]}{'要' * (n // 10)}吃什么药",
            "positive_passages": [{"docid": f"p{n}", "text": answers[n]}],
            "negative_passages": [
                {"docid": f"p{k % count}", "text": answers[k % count]} for k in range(n + 1, n + 7)
            ],
        }
        for n in range(count)
    ]


# The card lets go of its temporary folder at once and makes another of the same name.
@pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")
def test_the_card_trains_and_prints_figures(
    tmp_path: Path,
    tiny_checkpoint: Callable[..., Checkpoint],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cache = tmp_path / "hub"
    target = cache / "models" / MODEL
    target.parent.mkdir(parents=True)
    tiny_checkpoint().folder.rename(target)
    data = cache / "datasets" / "zyznull" / "dureader-retrieval-ranking"
    data.mkdir(parents=True)
    for split, count in (("train", 16), ("dev", 8)):
        with gzip.open(data / f"{split}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in _rows(count))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(cache))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    ran: dict[str, Any] = {}
    exec(CARD, ran)  # noqa: S102 - the code above

    shown = capsys.readouterr().out
    assert "step 4/4: mrr@10: " in shown
    work = Path(ran["tmp_dir"])
    made = json.loads((work / "run" / "settings.json").read_text(encoding="utf-8"))["settings"]
    assert made["data"]["negatives"] == 4
    assert made["data"]["query_length"] == made["data"]["passage_length"] == 256
    assert made["optimizer"]["batch"] == 4
    assert made["optimizer"]["epochs"] == 1
    assert made["loss"] | {"similarity": "dot", "temperature": 1.0} == made["loss"]
    figures = ran["trainer"].evaluate()
    assert set(figures) == {"mrr@10", "ndcg@10"}
    assert 0 < figures["mrr@10"] <= figures["ndcg@10"] <= 1
    last = shown.splitlines()[-1]
    assert last == f"mrr@10: {figures['mrr@10']:.4f}, ndcg@10: {figures['ndcg@10']:.4f}"

    texts = ["糖尿病吃什么药", "高血压患者要休息"]
    model = ran["trainer"].model_dir
    assert model == f"{work}/output"
    embedded = pipeline(Tasks.sentence_embedding, model=model)({"source_sentence": texts})
    expected = Encoder.load(model).encode_queries(texts)
    np.testing.assert_allclose(embedded["text_embedding"], expected, atol=1e-6)
    base = Encoder.load(target).encode_queries(texts)
    assert np.abs(expected - base).max() > 1e-5

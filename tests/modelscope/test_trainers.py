"""What of ModelScope's configuration does what, and what is refused or reported."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from corom.errors import FormatError, InputError
from corom.files import MANIFEST
from corom.models.checkpoint import Checkpoint
from corom.modelscope import Config, Model, MsDataset, Trainers, build_trainer, trainers
from corom.training.settings import TrainSettings

ROWS = [
    {
        "query_id": number,
        "query": query,
        "positive_passages": [{"docid": "1", "text": answer, "title": "药"}],
        "negative_passages": [{"docid": "2", "text": "咳嗽要治疗", "title": ""}],
    }
    for number, (query, answer) in enumerate(
        [("糖尿病吃什么药", "患者要吃药"), ("头痛多久", "要休息"), ("出血手术", "手术治疗")], 7
    )
]


@pytest.fixture
def build(tiny_checkpoint: Callable[..., Checkpoint], tmp_path: Path) -> Callable[..., Any]:
    folder = tiny_checkpoint().folder

    def build(modify: Callable[[Config], object] = lambda _: None, **arguments: Any) -> Any:
        def changed(cfg: Config) -> Config:
            modify(cfg)
            return cfg

        args = {"model": folder, "work_dir": tmp_path / "work", "train_dataset": ROWS, **arguments}
        return build_trainer(
            Trainers.nlp_sentence_embedding_trainer, {"cfg_modify_fn": changed, **args}
        )

    return build


def settings_of(trainer: Any) -> TrainSettings:
    names = {"train": "train.jsonl", "dev": None, "output": "run", "device": "cpu"}
    return trainer._translation.settings(trainer._checkpoint, **names)


def test_a_configuration_is_tables_and_attributes() -> None:
    cfg = Config({"train": {"hooks": [{"type": "x"}]}})
    cfg.train.max_epochs = 2
    cfg["dataset"] = {"train": {"a": 1}}
    cfg.dataset.train["b"] = {"c": 2}
    cfg.merge_from_dict({"train.optimizer.lr": 1e-3, "task": "t"})
    cfg.update({"model": {"type": "bert"}}, z={"y": 1})
    assert cfg.setdefault("w", {"v": 1}).v == 1
    assert cfg.train.hooks[0].type == "x"
    assert cfg.dataset.train.b.c == cfg["dataset"]["train"]["b"]["c"] == 2
    assert cfg.train.optimizer.lr == 1e-3
    assert cfg.model.type == "bert"
    assert cfg.z.y == 1
    assert cfg.safe_get("train.no.such", 5) == 5
    plain = cfg.to_dict()
    assert type(plain["train"]["hooks"][0]) is dict
    assert json.loads(json.dumps(cfg)) == plain
    other = deepcopy(cfg)
    other.train.max_epochs = 9
    assert cfg.train.max_epochs == 2
    del cfg.task
    with pytest.raises(AttributeError, match="no 'task' here"):
        _ = cfg.task
    with pytest.raises(KeyError):
        _ = cfg["task"]


@pytest.mark.parametrize(
    "path",
    [
        *("train.neg_samples", "train.neg_sample"),
        *("dataset.train.neg_sample", "dataset.train.neg_samples"),
    ],
)
def test_every_name_of_negatives_counts(build: Callable, path: str) -> None:
    assert settings_of(build()).data.negatives == 4
    assert settings_of(build(lambda cfg: cfg.merge_from_dict({path: 9}))).data.negatives == 9


@pytest.mark.parametrize("path", ["train.train_batch_size", "train.dataloader.batch_size_per_gpu"])
def test_every_name_of_the_batch_counts_for_each_process(
    build: Callable, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    assert settings_of(build()).optimizer.batch == 64
    trainer = build(lambda cfg: cfg.merge_from_dict({path: 6}))
    assert settings_of(trainer).optimizer.batch == 6
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert settings_of(trainer).optimizer.batch == 24


def test_an_output_that_is_no_model_is_not_replaced(build: Callable, tmp_path: Path) -> None:
    kept = tmp_path / "work" / "output" / "results.xlsx"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="output would be replaced by the model, but is none"):
        build().train()
    assert kept.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("place", ["nowhere", "tiny"])
def test_an_output_that_is_a_link_is_not_replaced(
    build: Callable, tmp_path: Path, place: str
) -> None:
    output = tmp_path / "work" / "output"
    output.parent.mkdir()
    output.symlink_to(tmp_path / place)
    with pytest.raises(InputError, match="output would be replaced by the model, but is none"):
        build().train()
    assert output.is_symlink()


def test_a_kill_leaves_no_half_of_the_model_that_is_replaced(
    build: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, output = tmp_path / "tiny", tmp_path / "work" / "output"
    trainers._replace(output, model)
    there: list[bool] = []
    remove = shutil.rmtree
    monkeypatch.setattr(
        shutil, "rmtree", lambda *a, **k: there.append(output.exists()) or remove(*a, **k)
    )
    trainers._replace(output, model)
    assert there == [False]
    assert (output / MANIFEST).is_file()


@pytest.mark.parametrize("path", ["preprocessor.max_length", "preprocessor.sequence_length"])
def test_the_length_is_the_preprocessor_s(build: Callable, path: str) -> None:
    assert settings_of(build()).data.query_length == 128
    found = settings_of(build(lambda cfg: cfg.merge_from_dict({path: 77}))).data
    assert (found.query_length, found.passage_length) == (77, 77)


def test_the_other_keys(build: Callable) -> None:
    def modify(cfg: Config) -> None:
        cfg.train.max_epochs = 2
        cfg.train.optimizer = {"type": "AdamW", "lr": 2e-5, "weight_decay": 0.1}
        cfg.train.optimizer.options = {"cumulative_iters": 3, "grad_clip": {"max_norm": 2.0}}
        cfg.train.lr_scheduler = {"type": "CosineAnnealingLR"}
        cfg.train.logging = {"interval": 5}
        cfg.corom = {"loss": {"temperature": 0.5}, "optimizer": {"warmup": 0.2}}

    found = settings_of(build(modify, seed=5))
    optimizer = found.optimizer
    assert (optimizer.epochs, optimizer.learning_rate, optimizer.weight_decay) == (2, 2e-5, 0.1)
    assert (optimizer.accumulate, optimizer.clip, optimizer.warmup) == (3, 2, 0.2)
    assert optimizer.schedule == "cosine"
    assert (found.run.log_every, found.run.seed) == (5, 5)
    assert found.loss.temperature == 0.5
    assert settings_of(build(modify, max_epochs=1)).optimizer.epochs == 1


def test_the_loss_follows_the_model(
    build: Callable, tiny_checkpoint: Callable[..., Checkpoint]
) -> None:
    loss = settings_of(build()).loss
    assert (loss.similarity, loss.temperature) == ("dot", 1.0)
    normalising = tiny_checkpoint(name="unit", normalize=True).folder
    loss = settings_of(build(model=Model.from_pretrained(normalising))).loss
    assert (loss.similarity, loss.temperature) == ("cosine", 0.02)


def test_what_the_model_folder_states_is_where_it_starts(
    build: Callable, tiny_checkpoint: Callable[..., Checkpoint]
) -> None:
    folder = tiny_checkpoint(name="stated", max_length=64).folder
    path = folder / "configuration.json"
    stated = json.loads(path.read_text())
    stated["train"] = {"max_epochs": 5, "dataloader": {"batch_size_per_gpu": 8}}
    path.write_text(json.dumps(stated))
    found = settings_of(build(model=folder))
    assert (found.optimizer.epochs, found.optimizer.batch) == (5, 8)
    assert found.data.query_length == 64
    # What is changed wins over what stood there, whatever the name.
    changed = build(lambda cfg: cfg.train.update({"train_batch_size": 4}), model=folder)
    assert settings_of(changed).optimizer.batch == 4


def test_keys_without_effect_are_reported(build: Callable) -> None:
    def modify(cfg: Config) -> None:
        cfg.train.max_epoch = 1
        cfg.train.use_fp16 = True
        cfg.model.emb_pooler_type = "avg"

    said = r"without effect: .*model\.emb_pooler_type.*"
    with pytest.warns(UserWarning, match=said) as caught:
        build(modify)
    text = str(caught[0].message)
    assert "train.use_fp16" in text
    assert "train.max_epoch (did you mean train.max_epochs?)" in text
    build()  # nothing to report: warnings are errors


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"task": "text-ranking"}, "task 'text-ranking'"),
        ({"train.optimizer.type": "SGD"}, "corom trains with AdamW only"),
        ({"train.lr_scheduler.type": "StepLR"}, "none of LinearLR"),
        ({"train.neg_samples": 2, "dataset.train.neg_sample": 3}, "two names of one setting"),
        ({"train.neg_samples": "many"}, "data.negatives is 'many'"),
        ({"train.max_epochs": 0}, "epochs is 0"),
        ({"corom.loss.temprature": 1}, "did you mean temperature"),
    ],
)
def test_values_that_cannot_be_are_refused(
    build: Callable, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        settings_of(build(lambda cfg: cfg.merge_from_dict(changes)))


def test_wrong_arguments_are_refused(build: Callable, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'nlp-text-ranking-trainer' is not"):
        build_trainer("nlp-text-ranking-trainer", {})
    with pytest.raises(InputError, match="unknown key 'train_datasets'; it takes cfg_modify_fn"):
        build(train_datasets=ROWS)
    with pytest.raises(InputError, match="model_revision belongs to a name"):
        build(model=Model.from_pretrained(tmp_path / "tiny"), model_revision="v1")
    with pytest.raises(InputError, match="must return the cfg"):
        build(cfg_modify_fn=lambda cfg: None)
    with pytest.raises(InputError, match="none of auto, cpu"):
        build(device="tpu")
    with pytest.raises(InputError, match="'wer' is none of mrr@10"):
        build(lambda cfg: cfg.evaluation.update(metrics=["wer"]))._translation.measures()
    assert build(
        lambda cfg: cfg.evaluation.update(metrics=["text-ranking-metric", "recall@5", "mrr@1"])
    )._translation.measures() == ("MRR@10", "nDCG@10", "Recall@5", "MRR@1")
    one = build(lambda cfg: cfg.evaluation.update(metrics="recall@5"))
    assert one._translation.measures() == ("Recall@5",)
    with pytest.raises(InputError, match="text_fileds is 3; expected a list of names"):
        written(build(lambda cfg: cfg.dataset.train.update(text_fields=3)))


def written(trainer: Any) -> list[dict[str, Any]]:
    lines = trainer._file("train").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("key", ["text_fileds", "text_fields"])
def test_fields_are_joined_as_asked(build: Callable, key: str) -> None:
    def texts(fields: list[str]) -> str:
        trainer = build(lambda cfg: cfg.dataset.train.update({key: fields}))
        return str(written(trainer)[0]["positive_passages"][0]["text"])

    assert texts(["text"]) == "患者要吃药"
    assert texts(["title", "text"]) == "药 患者要吃药"
    first = written(build())[0]
    assert first["query_id"] == "7"
    assert first["positive_passages"][0]["text"] == "药 患者要吃药"
    assert first["negative_passages"][0]["text"] == "咳嗽要治疗"
    assert {row["negative_passages"][0]["docid"] for row in written(build())} == {
        first["negative_passages"][0]["docid"]
    }


def test_fields_of_other_names_and_forms(build: Callable) -> None:
    rows = [{"q": "头痛", "pos": "休息", "neg": None}]
    forms = [["休息"], {"text": ["休息"], "docid": ["3"]}]

    def modify(cfg: Config) -> None:
        names = {"query_sequence": "q", "pos_sequence": "pos", "neg_sequence": "neg"}
        cfg.dataset.train.update(names)

    for form in forms:
        row = written(build(modify, train_dataset=[{**rows[0], "pos": form}]))[0]
        assert row["query_id"] == "1"
        assert [one["text"] for one in row["positive_passages"]] == ["休息"]
        assert row["negative_passages"] == []


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"query": " "}, "'query' is not a text"),
        ({"query": "秘密", "positive_passages": []}, "at least one; the fields are query, pos"),
        ({"query": "秘密"}, "'positive_passages' is not a list"),
        ({"query": "秘密", "positive_passages": "文"}, "is not a list of passages"),
        ({"query": "秘密", "positive_passages": [1]}, "holds int"),
        ({"query": "秘密", "positive_passages": [{"text": ""}]}, "has no text"),
        ({"query": "秘密", "positive_passages": {"text": "文", "docid": "3"}}, "is not a list of"),
        ({"query": "秘密", "positive_passages": {"text": ["文"], "docid": []}}, "is not a list of"),
        ({"query": "秘密", "positive_passages": {"text": None}}, "is not a list of"),
        ("train", "is str, not a row of fields"),
    ],
)
def test_a_bad_row_is_named_by_its_number(build: Callable, row: dict[str, Any], said: str) -> None:
    with pytest.raises(FormatError, match=said) as caught:
        written(build(train_dataset=[ROWS[0], row]))
    assert caught.value.line == 2
    assert "秘密" not in str(caught.value)
    wanted = build(lambda cfg: cfg.dataset.train.update(text_fields=["body"]))
    with pytest.raises(FormatError, match="line 1: a passage of 'positive_passages': the field"):
        written(wanted)


def test_a_query_without_an_id_has_the_number_of_its_row(build: Callable) -> None:
    rows = [{**row, "query_id": None} for row in ROWS]
    assert [row["query_id"] for row in written(build(train_dataset=rows))] == ["1", "2", "3"]


def test_texts_that_occur_twice_are_judged_once(build: Callable) -> None:
    answer = ROWS[0]["positive_passages"]
    rows = [{**ROWS[0], "negative_passages": [*answer, *answer]}, *ROWS, ROWS[1]]
    figures = build(eval_dataset=rows, device="cpu").evaluate()
    assert figures == build(eval_dataset=ROWS, device="cpu").evaluate()
    rows = [{**row, "query_id": "1"} for row in ROWS]
    with pytest.raises(FormatError, match="query_id '1' stands for two different queries"):
        build(eval_dataset=rows, device="cpu").evaluate()


@pytest.mark.torch
def test_training_goes_on_and_evaluation_takes_any_model(
    build: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("accelerate")

    def modify(cfg: Config) -> None:
        cfg.train.update(train_batch_size=2, max_epochs=1)
        cfg.train.logging = {"interval": 1}
        cfg.train.optimizer.lr = 1e-2

    trainer = build(modify, eval_dataset=ROWS, device="cpu")
    before = trainer.evaluate()
    after = trainer.train()
    assert set(after) == set(before) == {"mrr@10", "ndcg@10"}
    shown = capsys.readouterr().out
    assert "step 1/1: loss " in shown
    assert "step 1/1: mrr@10: " in shown
    assert trainer.evaluate(checkpoint_path=tmp_path / "tiny") == before
    stamp = (tmp_path / "work" / "run" / "result.json").stat().st_mtime_ns
    assert build(modify, eval_dataset=ROWS, device="cpu").train(tmp_path / "work" / "run") == after
    assert (tmp_path / "work" / "run" / "result.json").stat().st_mtime_ns == stamp
    with pytest.raises(InputError, match="no checkpoint of"):
        trainer.train(checkpoint_path=tmp_path)
    with pytest.raises(InputError, match="other settings"):
        build(eval_dataset=ROWS, device="cpu").train()
    with pytest.raises(InputError, match="no eval_dataset"):
        build(modify).evaluate()
    with pytest.raises(InputError, match="no train_dataset"):
        build(modify, train_dataset=None).train()


def test_data_from_files_and_folders(tmp_path: Path) -> None:
    for split, rows in (("train", ROWS), ("dev", ROWS[:1])):
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (tmp_path / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    found = MsDataset.load(str(tmp_path))
    assert list(found) == ["dev", "train"]
    train = found["train"].to_hf_dataset()
    assert list(train) == ROWS
    assert (len(train), train[1], train[-1]) == (3, ROWS[1], ROWS[2])
    assert train.column_names == list(ROWS[0])
    assert list(train.select([2, 0])) == [ROWS[2], ROWS[0]]
    assert len(MsDataset.load(tmp_path / "train.jsonl")["train"]) == 3
    assert len(MsDataset.load(tmp_path, split="dev")) == 1
    with pytest.raises(InputError, match="has no version 'v1'; leave it out"):
        MsDataset.load(tmp_path, version="v1")
    with pytest.raises(InputError, match="has no split 'test'; it has dev, train"):
        MsDataset.load(tmp_path, split="test")
    (tmp_path / "dev.jsonl").write_text('{"query": \n', encoding="utf-8")
    with pytest.raises(FormatError, match=r"dev\.jsonl, line 1"):
        list(MsDataset.load(tmp_path, split="dev"))


def test_two_files_of_one_split_are_refused(tmp_path: Path) -> None:
    for folder in ("en", "zh"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "train.jsonl").write_text('{"query": "头痛"}\n', encoding="utf-8")
    with pytest.raises(InputError, match="would both be the split 'train'"):
        MsDataset.load(tmp_path)


def test_data_of_queries_and_qrels(tmp_path: Path) -> None:
    for name, text in {
        "corpus.tsv": "1\t患者要吃药\n2\t要休息\n",
        "train.query.txt": "1\t糖尿病\n",
        "qrels.train.tsv": "1\t0\t2\t1\n",
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    rows = MsDataset.load(tmp_path, split="train")
    entry = {"docid": "2", "title": "", "text": "要休息"}
    assert list(rows) == [
        {"query_id": "1", "query": "糖尿病", "positive_passages": [entry], "negative_passages": []}
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere",), "neither a file, nor a folder"),
        (("../x", "owner"), "neither a file, nor a folder"),
        (("x", "owner"), "forbids a download"),
    ],
)
def test_names_that_lead_nowhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    from corom.errors import CoromError

    monkeypatch.setenv("COROM_OFFLINE", "1")
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path))
    with pytest.raises(CoromError, match=said):
        MsDataset.load(*arguments)
    pytest.importorskip("huggingface_hub")
    with pytest.raises(CoromError, match="COROM_OFFLINE forbids a download"):
        MsDataset.load("nobody/nothing", hub="huggingface")
    with pytest.raises(InputError, match="none of modelscope, huggingface"):
        MsDataset.load("x", hub="other")  # type: ignore[call-overload]

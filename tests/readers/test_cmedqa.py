"""cMedQA2: csv, or a zip for each file."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from corom.errors import FormatError, InputError
from corom.readers import Dataset, SkipReport, open_dataset
from corom.records import Passage, Qrel, Query

FILES = {
    "question.csv": 'question_id,content\n1,"头痛,恶心\n怎么办"\n2,感冒吃什么\n3,失眠\n',
    "answer.csv": (
        'ans_id,question_id,content\n1,1,"多休息，""别熬夜""。"\n7,2,多喝水。\n8,3,早睡。\n'
    ),
    "train_candidates.txt": "question_id,pos_ans_id,neg_ans_id\n2,7,8\n2,7,1\n",
    "dev_candidates.txt": "question_id,ans_id,cnt,label\n1,7,0,0\n1,1,1,1\n1,7,2,0\n",
}


def plain(folder: Path, **changes: str) -> Path:
    for name, text in {**FILES, **{k.replace("_", ".", 1): v for k, v in changes.items()}}.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def zipped(folder: Path) -> Path:
    for name, text in FILES.items():
        with zipfile.ZipFile(folder / f"{Path(name).stem}.zip", "w") as archive:
            archive.writestr(name, text)
    return folder


@pytest.mark.parametrize("make", [plain, zipped])
def test_a_cmedqa_folder(tmp_path: Path, make: object) -> None:
    (tmp_path / "README.md").write_text("x")
    data: Dataset = open_dataset(make(tmp_path))  # type: ignore[operator]
    assert ({path.stem for path in data.files}, data.unused) == (
        {Path(name).stem for name in FILES},
        ("README.md",),
    )
    assert (data.format, data.splits) == ("cmedqa2", ("train", "dev"))
    assert [*data.passages()][:2] == [Passage("1", '多休息，"别熬夜"。'), Passage("7", "多喝水。")]
    assert [*data.queries("dev")] == [Query("1", "头痛,恶心\n怎么办")]
    assert [*data.qrels("train")] == [Qrel("2", "7", 1)]
    assert [*data.qrels("dev")] == [Qrel("1", "7", 0), Qrel("1", "1", 1)]
    assert data.check().stray_queries == 1
    with pytest.raises(InputError, match="no split 'test'"):
        data.qrels("test")


def test_bad_rows_are_named_by_the_line_they_begin_on(tmp_path: Path) -> None:
    answers = 'ans_id,question_id,content\n1,1,"a\nb"\n2,1\n3,1,c\n3,1,d\n4,1,\n,1,e\n'
    data = open_dataset(plain(tmp_path, answer_csv=answers))
    with pytest.raises(FormatError, match=r"answer.csv, line 4: has 2 columns"):
        list(data.passages())
    skips = SkipReport()
    data = open_dataset(tmp_path, skips=skips)
    assert [p.id for p in data.passages()] == ["1", "3"]
    assert skips.counts == {"wrong columns": 1, "duplicate": 1, "empty text": 1, "empty id": 1}
    assert [place.split(": ")[0][-6:] for place in skips.first] == [
        f"line {n}" for n in (4, 6, 7, 8)
    ]


def test_bytes_that_are_not_utf8_spoil_one_row_only(tmp_path: Path) -> None:
    plain(tmp_path)
    (tmp_path / "question.csv").write_bytes(b"question_id,content\n1,\xff\n2,ok\n")
    with pytest.raises(FormatError, match="line 2: is not UTF-8"):
        list(open_dataset(tmp_path).queries("dev"))
    skips = SkipReport()
    assert [q.id for q in open_dataset(tmp_path, skips=skips).queries("train")] == ["2"]
    assert skips.counts == {"invalid UTF-8": 1}


def test_a_label_that_contradicts_an_earlier_one(tmp_path: Path) -> None:
    dev = "question_id,ans_id,cnt,label\n1,7,0,0\n1,7,1,1\n1,1,2,x\n"
    data = open_dataset(plain(tmp_path))
    (tmp_path / "dev_candidates.txt").write_text(dev)
    with pytest.raises(FormatError, match="line 3: grades a pair unlike"):
        list(data.qrels("dev"))
    skips = SkipReport()
    assert [*open_dataset(tmp_path, skips=skips).qrels("dev")] == [Qrel("1", "7", 0)]
    assert skips.counts == {"contradiction": 1, "bad grade": 1}


def test_a_wrong_header_and_an_empty_file(tmp_path: Path) -> None:
    plain(tmp_path, answer_csv="ans_id,text\n1,x\n")
    with pytest.raises(FormatError, match="line 1: its header lacks content"):
        list(open_dataset(tmp_path).passages())
    (tmp_path / "answer.csv").write_text("")
    with pytest.raises(FormatError, match=r"answer\.csv: holds no row"):
        list(open_dataset(tmp_path, skips=SkipReport()).passages())


def test_a_long_field(tmp_path: Path) -> None:
    plain(tmp_path, answer_csv="ans_id,question_id,content\n1,1," + "长" * 140_000 + "\n")
    (passage,) = open_dataset(tmp_path).passages()
    assert passage.text == "长" * 140_000

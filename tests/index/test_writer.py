from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from corom.errors import ArtifactError, InputError
from corom.files import MANIFEST
from corom.index import (
    BM25Options,
    ExactOptions,
    IndexSpec,
    VectorIndex,
    Where,
    folder,
    open_index,
    open_writer,
)
from corom.index.writer import IndexWriter
from corom.records import Passage
from index import build_and_wait
from index.build_and_wait import CHUNK, OPTIONS, N, build, change, shrink
from index.samples import passages, queries, spec, vectors

pytest.importorskip("faiss")
pytest.importorskip("tantivy")

KILLS = 30
WORDS = ["糖尿病吃什么药", "失眠"]


def answers(path):
    index = open_index(path)
    asked = WORDS if isinstance(index.spec.options, BM25Options) else queries()
    some = index.only([Where(column="department", among=("内科",))])
    return index.search(asked, 8) + some.search(asked, 8)


def contents(path):
    """The bytes of every file that is made the same each time, and the names of the rest."""
    return {
        file.relative_to(path).as_posix(): file.read_bytes()
        for file in path.rglob("*")
        if file.is_file() and file.suffix in (".npy", ".jsonl")
    }


def found_or_refused(path):
    """What the index answers, or None if it says that it was not finished, or is not there."""
    try:
        return answers(path)
    except ArtifactError as error:
        if "was not finished" in str(error) or "holds no index" in str(error):
            return None
        raise


@pytest.fixture(scope="module")
def builds(tmp_path_factory):
    """Per kind: a finished index, and one that was changed."""
    root = tmp_path_factory.mktemp("builds")
    for kind, options in OPTIONS.items():
        build(root / kind, options)
        shutil.copytree(root / kind, root / f"{kind}-changed")
        change(root / f"{kind}-changed", options)
        shutil.copytree(root / kind, root / f"{kind}-shrunk")
        shrink(root / f"{kind}-shrunk", options)
    return root


class Killer:
    """Starts builds in another process and kills them."""

    def __init__(self):
        source, tests = Path(folder.__file__).parents[2], Path(__file__).parents[1]
        self.process = subprocess.Popen(
            [sys.executable, build_and_wait.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{source}{os.pathsep}{tests}"},
        )

    def run(self, action, path, kind, *, kill_after=0.0):
        """Return the exit status, 0 if it came to its end."""
        self.process.stdin.write(f"{action} {path} {kind} {kill_after}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def timed(self, action, path, kind):
        begun = time.perf_counter()
        assert self.run(action, path, kind) == 0
        return time.perf_counter() - begun


@pytest.fixture(scope="module")
def killer():
    made = Killer()
    yield made
    made.process.stdin.close()
    made.process.stdout.close()
    made.process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("kind", OPTIONS)
def test_killed_builds_leave_nothing_or_what_can_go_on(kind, killer, builds, tmp_path):
    wanted, files = answers(builds / kind), contents(builds / kind)
    seconds = killer.timed("build", tmp_path / "timed", kind)
    chance, kills, path = np.random.default_rng(7), 0, tmp_path / "index"
    for attempt in range(KILLS * 20):  # a machine under load may finish before it is killed
        moment = chance.uniform(0.001, seconds)
        kills += killer.run("build", path, kind, kill_after=moment) != 0
        assert found_or_refused(path) in (wanted, None)
        if attempt % 3 == 2:  # else the next one goes on, and is killed as well
            killer.timed("build", path, kind)
            assert answers(path) == wanted
            assert set(contents(path)) == set(files)
            if kind == "exact":
                assert contents(path) == files
            shutil.rmtree(path)
        if kills == KILLS:
            break
    assert kills == KILLS


@pytest.mark.slow
@pytest.mark.parametrize("kind", OPTIONS)
@pytest.mark.parametrize(
    ("action", "after", "size"), [("change", "changed", N + 1), ("shrink", "shrunk", 31)]
)
def test_killed_changes_leave_the_old_or_the_new(
    kind, action, after, size, killer, builds, tmp_path
):
    old, new = answers(builds / kind), answers(builds / f"{kind}-{after}")
    assert old != new
    shutil.copytree(builds / kind, tmp_path / "timed")
    seconds = killer.timed(action, tmp_path / "timed", kind)
    chance, kills, path = np.random.default_rng(8), 0, tmp_path / "index"
    for _ in range(KILLS * 20):
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(builds / kind, path)
        moment = chance.uniform(0.001, seconds)
        kills += killer.run(action, path, kind, kill_after=moment) != 0
        found, changed = answers(path), len(open_index(path)) == size
        if kind == "hnsw":  # a graph is built by threads that race: two are never quite the same
            assert ("new" in str(found)) == changed
        else:
            assert found == (new if changed else old)
        if not changed:
            killer.timed(action, path, kind)
            assert len(open_index(path)) == size
        if kills == KILLS:
            break
    assert kills == KILLS


@pytest.mark.parametrize("kind", OPTIONS)
class TestDamage:
    def copied(self, builds, kind, tmp_path):
        path = tmp_path / "index"
        shutil.copytree(builds / f"{kind}-changed", path)
        files = [file for file in path.rglob("*") if file.is_file() and file.name != ".lock"]
        assert len(files) > 4
        return path, sorted(files)

    def test_a_flipped_byte_is_refused_by_name(self, kind, builds, tmp_path):
        path, files = self.copied(builds, kind, tmp_path)
        chance = np.random.default_rng(9)
        for file in files:
            whole = file.read_bytes()
            for place in {0, len(whole) - 1, *(chance.integers(len(whole)) for _ in range(4))}:
                damaged = bytearray(whole)
                damaged[place] ^= 1 << chance.integers(8)
                file.write_bytes(damaged)
                with pytest.raises(ArtifactError, match=file.name):
                    open_index(path)
                with pytest.raises(ArtifactError, match=file.name), open_writer(path):
                    pass
            file.write_bytes(whole)
        assert len(answers(path)) in (4, 12)

    def test_a_short_or_missing_file_is_refused_without_reading(self, kind, builds, tmp_path):
        path, files = self.copied(builds, kind, tmp_path)
        for file in files:
            whole = file.read_bytes()
            file.write_bytes(whole[:-1])
            with pytest.raises(ArtifactError, match=file.name):
                open_index(path, deep=False)
            file.unlink()
            with pytest.raises(
                ArtifactError, match=file.name if file.name != MANIFEST else "no index"
            ):
                open_index(path, deep=False)
            file.write_bytes(whole)


def test_a_manifest_that_is_replaced_while_it_is_read(tmp_path, monkeypatch):
    first = folder.Manifest(spec=spec(ExactOptions()))
    folder.commit(tmp_path, first)
    loads = json.loads

    def meanwhile(text):
        folder.commit(tmp_path, replace(first, generation=1))
        return loads(text)

    monkeypatch.setattr("corom.files.json.loads", meanwhile)
    assert folder.read_manifest(tmp_path) == first


def test_every_byte_of_a_manifest_counts(builds, tmp_path):
    path = tmp_path / "index"
    shutil.copytree(builds / "exact", path)
    whole = (path / MANIFEST).read_bytes()
    for place in range(0, len(whole), 31):
        damaged = bytearray(whole)
        damaged[place] ^= 4
        (path / MANIFEST).write_bytes(damaged)
        with pytest.raises(ArtifactError, match=MANIFEST):
            folder.read_manifest(path)


class TestRefusals:
    def test_another_encoder(self, builds):
        path = builds / "exact"
        with pytest.raises(ArtifactError, match="fingerprint 'a1b2', the encoder has 'c3'"):
            open_index(path, fingerprint="c3")
        with pytest.raises(ArtifactError, match="dim 24, the encoder has 768"):
            open_index(path, dim=768)
        with pytest.raises(ArtifactError, match="normalized False, the encoder has True"):
            open_index(path, normalized=True)
        assert len(open_index(path, fingerprint="a1b2", dim=24, normalized=False)) == N
        # Words have no encoder.
        assert len(open_index(builds / "bm25", fingerprint="c3", dim=768)) == N

    def test_another_format(self, builds, tmp_path):
        shutil.copytree(builds / "exact", tmp_path / "index")
        path = tmp_path / "index" / MANIFEST
        path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2}))
        with pytest.raises(ArtifactError, match="format 2, this version of corom reads 1"):
            open_index(tmp_path / "index")

    def test_no_index(self, tmp_path):
        with pytest.raises(ArtifactError, match="holds no index"):
            open_index(tmp_path)
        with pytest.raises(ArtifactError, match="holds no index"):
            open_index(tmp_path / "missing")
        (tmp_path / MANIFEST).write_text('{"files": {}}')
        with pytest.raises(ArtifactError, match="does not describe an index"):
            open_index(tmp_path)

    def test_resuming_something_else(self, builds):
        other = spec(ExactOptions(precision="int8"), source="another corpus")
        with (
            pytest.raises(ArtifactError, match="source: 'another corpus' != 'sample'"),
            open_writer(builds / "exact", other),
        ):
            pass

    def test_a_folder_with_other_files(self, tmp_path):
        for name in ("notes.txt", ".lock"):
            (tmp_path / name).write_text("mine")
        with pytest.raises(ArtifactError, match="no index; choose another"):
            open_writer(tmp_path, spec(ExactOptions()))
        for name in ("notes.txt", ".lock"):
            assert (tmp_path / name).read_text() == "mine"
        (tmp_path / ".lock").unlink()
        with pytest.raises(ArtifactError, match="no index; choose another"):
            open_writer(tmp_path, spec(ExactOptions()))
        assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
        with pytest.raises(ArtifactError, match="is no folder"):
            open_writer(tmp_path / "notes.txt", spec(ExactOptions()))

    @pytest.mark.parametrize("name", ["records-202511.jsonl", "vectors-000001.npy"])
    def test_a_folder_with_a_numbered_file_of_somebody(self, name, tmp_path):
        (tmp_path / name).write_text("mine")
        with pytest.raises(ArtifactError, match="no index; choose another"):
            open_writer(tmp_path, spec(ExactOptions()))
        assert (tmp_path / name).read_text() == "mine"

    def test_nothing_to_change(self, tmp_path):
        with pytest.raises(ArtifactError, match="say what it is to be"):
            open_writer(tmp_path / "new")
        assert not (tmp_path / "new").exists()

    def test_two_writers(self, builds):
        with (
            open_writer(builds / "exact"),
            pytest.raises(ArtifactError, match="being written by another"),
        ):
            open_writer(builds / "exact")
        with open_writer(builds / "exact"):
            pass


@pytest.fixture
def writer(tmp_path):
    with open_writer(tmp_path / "index", spec(ExactOptions())) as made:
        yield made


class TestWriter:
    def test_not_finished_is_not_an_index(self, writer, tmp_path):
        with pytest.raises(ArtifactError, match="holds no index"):
            open_index(tmp_path / "index")
        writer.append(passages(3), vectors(3))
        with pytest.raises(ArtifactError, match=r"not finished \(3 passages so far\)"):
            open_index(tmp_path / "index")
        assert (writer.done, writer.complete) == (3, False)
        writer.finish()
        assert writer.complete
        assert len(open_index(tmp_path / "index")) == 3

    def test_empty(self, writer, tmp_path):
        writer.append([], np.empty((0, 24), np.float32))
        writer.finish()
        index = open_index(tmp_path / "index")
        assert (len(index), index.search(queries(), 3)) == (0, [[]] * 6)

    def test_what_is_refused_adds_nothing(self, writer):
        writer.append(passages(5), vectors(5))
        for bad in (passages(5)[4:], [Passage("n", ""), Passage("n", "")], [Passage("\0", "")]):
            with pytest.raises(InputError):
                writer.append(bad, vectors(len(bad)))
        with pytest.raises(InputError, match="NaN"):
            writer.append([Passage("n", "")], np.full((1, 24), np.nan, np.float32))
        assert writer.done == 5

    def test_removing_waits_for_an_index(self, writer):
        writer.append(passages(5), vectors(5))
        with pytest.raises(InputError, match="finished index only"):
            writer.remove([passages(5)[0].id])

    def test_unchanged_is_not_written_again(self, writer, tmp_path):
        writer.append(passages(5), vectors(5))
        writer.finish()
        before = (tmp_path / "index" / MANIFEST).stat().st_mtime_ns
        writer.finish()
        assert (tmp_path / "index" / MANIFEST).stat().st_mtime_ns == before

    def test_when_most_rows_are_removed_what_is_left_is_written_again(self, writer, tmp_path):
        path = tmp_path / "index"
        writer.append(passages(40), vectors(40))
        writer.finish()
        writer.remove([passage.id for passage in passages(40)[20:]])
        writer.finish()
        assert open_index(path).collection.rows == 40
        writer.remove([passages(40)[3].id])
        writer.finish()
        index = open_index(path)
        assert (index.collection.rows, writer.done) == (19, 19)
        assert {file.name for file in path.glob("vectors-*")} == {"vectors-000002.npy"}
        kept = [n for n in range(20) if n != 3]
        made = VectorIndex.new(24)
        made.add([passages(40)[n] for n in kept], vectors(40)[kept])
        assert index.search(queries(), 30) == made.search(queries(), 30)
        assert list(writer.passages()) == [passages(40)[n] for n in kept]
        writer.remove([passages(40)[n].id for n in kept])
        writer.finish()
        assert (len(open_index(path)), list(writer.passages())) == (0, [])
        writer.append(passages(2), vectors(2))
        writer.finish()
        assert len(open_index(path)) == 2

    def test_texts_come_back_as_they_were(self, writer, tmp_path):
        odd = [
            Passage("1", 'Ⅱ型 "糖尿病"\n\t\\ \x00 \u2028 😀', "标题"),
            Passage("id 二", "", ""),
            Passage("", "a" * 100_000),
        ]
        writer.append(odd, vectors(3))
        writer.finish()
        rows = open_index(tmp_path / "index").collection
        assert rows.passages(rows.find(["1", "id 二", ""])) == odd

    def test_lone_surrogates_are_replaced(self, writer, tmp_path):
        writer.append([Passage("1", "头痛\ud800")], vectors(1))
        writer.finish()
        rows = open_index(tmp_path / "index").collection
        assert rows.passages(np.array([0])) == [Passage("1", "头痛\ufffd")]

    def test_leftovers_are_swept(self, writer, tmp_path):
        path = tmp_path / "index"
        writer.append(passages(5), vectors(5))
        writer.finish()
        writer.close()
        names = sorted(file.name for file in path.iterdir())
        for name in ("vectors-000009.npy", ".ids-000003.npy.x1.part", ".manifest.json.q.part"):
            (path / name).write_bytes(b"half")
        (path / "lexicon-000004").mkdir()
        mine = ["notes.txt", "records-202511.jsonl"]
        for name in mine:
            (path / name).write_text("mine")
        assert len(open_index(path)) == 5
        with open_writer(path):
            pass
        assert sorted(file.name for file in path.iterdir()) == sorted([*names, *mine])

    def test_a_reader_keeps_what_it_opened(self, writer, tmp_path):
        writer.append(passages(50), vectors(50))
        writer.finish()
        index = open_index(tmp_path / "index")
        before = index.search(queries(), 5)
        writer.remove([passages(50)[0].id])
        writer.append([Passage("new", "")], queries()[:1])
        writer.finish()
        assert index.search(queries(), 5) == before
        assert len(open_index(tmp_path / "index")) == 50

    def test_opened_while_another_commits(self, writer, tmp_path, monkeypatch):
        path = tmp_path / "index"
        writer.append(passages(50), vectors(50))
        writer.finish()
        writer.remove([passages(50)[0].id])
        read = folder.read_manifest
        asked = []

        def interrupted(of):
            manifest = read(of)
            if not asked:  # commit, and sweep ranks-000002.npy, before it can be opened
                asked.append(writer.finish())
            return manifest

        monkeypatch.setattr("corom.index.opening.read_manifest", interrupted)
        assert len(open_index(path)) == 49

    def test_checks_ids_once_more_when_finishing(self, writer, monkeypatch):
        monkeypatch.setattr("corom.index.collection.Collection.require_new", lambda *_: None)
        writer.append(passages(3), vectors(3))
        writer.append(passages(3), vectors(3))
        with pytest.raises(InputError, match="occurs twice"):
            writer.finish()

    def test_a_finish_that_failed_is_tried_again(self, tmp_path, monkeypatch):
        made = spec(BM25Options(cut="bigrams"), keep=("department",))
        with open_writer(tmp_path / "index", made) as writer:
            writer.append([Passage("1", "头痛", fields={"department": "内科"})])
            with monkeypatch.context() as patch:
                patch.setattr("corom.index.lexicon.Lexicon._write", full)
                with pytest.raises(OSError, match="full"):
                    writer.finish()
            writer.finish()
        found = open_index(tmp_path / "index").search(["头痛"], 3)
        assert [hit.id for hit in found[0]] == ["1"]

    def test_memory_holds_no_passages(self, writer):
        writer.append(passages(CHUNK), vectors(CHUNK))
        segment = writer._collection.segments[0]
        assert not isinstance(segment.passages, list)
        assert not segment.vectors.flags.owndata


def full(*_, **__):
    raise OSError("the disk is full")


def test_spec_of_a_writer(tmp_path):
    wanted = IndexSpec(options=BM25Options(cut="bigrams"), source="s")
    with open_writer(tmp_path, wanted) as writer:
        assert isinstance(writer, IndexWriter)
        assert writer.spec == wanted
        with pytest.raises(InputError, match="without vectors"):
            writer.append(passages(2), vectors(2))

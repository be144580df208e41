from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from corom import files
from corom.errors import ArtifactError
from corom.files import atomic_folder, atomic_write, check_manifest, write_bytes, write_json


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_nothing_is_left_of_a_write_that_fails(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"old")
    with pytest.raises(ZeroDivisionError), atomic_write(tmp_path / "a") as file:
        file.write(bytes(1 // len(tmp_path.name[:0])))
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names_in(tmp_path) == ["a"]


KILLED = """
import os, signal, sys
from pathlib import Path
from corom.files import atomic_folder, atomic_write
with (atomic_write if sys.argv[2] == "file" else atomic_folder)(Path(sys.argv[1])) as draft:
    if sys.argv[2] == "folder":
        (draft / "weights").write_bytes(b"half")
    print("at it", flush=True)
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_writer_left_goes_and_what_is_being_written_stays(
    tmp_path: Path, kind: str
) -> None:
    target, other = tmp_path / "a", tmp_path / ".a.of-others.part"
    other.write_bytes(b"")
    command = [sys.executable, "-c", KILLED, str(target), kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"at it\n"
        write_bytes(target, b"1")
        assert len(names_in(tmp_path)) == 3
        writer.communicate()
    assert len(names_in(tmp_path)) == 3
    write_bytes(target, b"2")
    assert names_in(tmp_path) == [other.name, "a"]


def test_a_pipe_that_is_called_as_a_draft_is_no_draft(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".a.abcdefgh.part")
    (tmp_path / ".a.12345678.part").symlink_to(tmp_path.parent)
    write_bytes(tmp_path / "a", b"1")
    assert tmp_path.parent.is_dir()


def test_a_folder_that_another_made_meanwhile_stays(tmp_path: Path) -> None:
    def made_twice() -> None:
        with atomic_folder(tmp_path / "a"):
            write_bytes(tmp_path / "a" / "theirs", b"")

    with pytest.raises(ArtifactError, match="a was made by another process meanwhile"):
        made_twice()
    assert names_in(tmp_path) == ["a"]
    assert names_in(tmp_path / "a") == ["theirs"]


def test_a_folder_does_not_replace_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("nowhere")
    with pytest.raises(ArtifactError, match="a exists already"), atomic_folder(tmp_path / "a"):
        pass
    assert (tmp_path / "a").is_symlink()


def test_a_name_that_no_folder_can_have_is_said_before_the_work(tmp_path: Path) -> None:
    target = tmp_path / ("a" * 300)
    with pytest.raises(OSError, match="too long") as caught, atomic_folder(target):
        pytest.fail("the work was begun")
    assert caught.value.filename == str(target)


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real/file")
    for content in (b"1", b"2"):
        write_bytes(tmp_path / "link", content)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "real/file").read_bytes() == content
    assert names_in(tmp_path / "real") == ["file"]


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit((tmp_path / "pipe").read_bytes)
        write_json(tmp_path / "pipe", {"a": 1})
        assert read.result(timeout=30) == b'{\n  "a": 1\n}\n'
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_what_is_appended_to_a_file_is_not_replaced(tmp_path: Path) -> None:
    code = "from corom.files import write_bytes; write_bytes('/dev/stdout', b'new')"
    with (tmp_path / "a").open("wb") as file:
        file.write(b"old ")
        file.flush()
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True)
    assert (tmp_path / "a").read_bytes() == b"old new"


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="no /dev/shm here")  # noqa: S108
def test_files_in_shared_memory_are_replaced() -> None:
    with TemporaryDirectory(dir="/dev/shm") as folder:
        for content in (b"1", b"2"):
            write_bytes(Path(folder) / "a", content)
            assert (Path(folder) / "a").read_bytes() == content


def test_a_full_disk_is_said_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="full") as caught, atomic_write(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "full")
    assert caught.value.filename == str(tmp_path / "a")
    with pytest.raises(OSError, match="torn") as caught, atomic_write(tmp_path / "a"):
        raise OSError(errno.EIO, "torn")
    assert caught.value.filename is None


def test_a_name_as_long_as_names_may_be(tmp_path: Path) -> None:
    name = "糖" * 85
    write_bytes(tmp_path / name, b"x")
    with atomic_folder(tmp_path / f"{name[1:]}d") as draft:
        write_bytes(draft / name, b"x")
    assert names_in(tmp_path) == sorted([name, f"{name[1:]}d"])


@pytest.mark.parametrize("known", [True, False])
def test_modes_are_those_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    if not known:
        monkeypatch.setattr(files, "Path", lambda _: tmp_path / "none")
    before = os.umask(0o027)
    try:
        assert files._umask() == 0o027
        monkeypatch.undo()
        write_bytes(tmp_path / "a", b"")
        with atomic_folder(tmp_path / "b") as draft:
            (draft / "c").touch(mode=0o600)
    finally:
        assert os.umask(before) == 0o027
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "b", "b/c")]
    assert modes == [0o640, 0o750, 0o640]


def test_a_file_that_is_replaced_keeps_who_may_read_it(tmp_path):
    path = tmp_path / "vectors.npy"
    with atomic_write(path, mode=0o600) as file:
        file.write(b"1")
    assert path.stat().st_mode & 0o777 == 0o600
    write_bytes(path, b"2")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"2", 0o600)


@pytest.mark.parametrize(
    "text",
    [
        *("[1]", "{}", "[" * 100_000, '{"files": [1]}', '{"files": {"a": {}}}'),
        *('{"files": {"a": 1}}', '{"files": {"a": {"bytes": 0, "sha256": null}}}'),
    ],
)
def test_what_is_no_manifest(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    what = r"manifest\.json is .*; fetch or make (it|the folder) again"
    for options in ({}, {"missing_ok": True}):
        with pytest.raises(ArtifactError, match=what):
            check_manifest(tmp_path, **options)


def test_a_folder_without_a_manifest_passes_where_it_may(tmp_path: Path) -> None:
    check_manifest(tmp_path, missing_ok=True)
    with pytest.raises(ArtifactError, match=r"manifest\.json is missing"):
        check_manifest(tmp_path)


def test_a_manifest_tells_what_is_missing_short_or_changed(tmp_path: Path) -> None:
    folder, large = tmp_path / "a" / "b", b"1" * (3 << 20)  # more than is read at once
    with atomic_folder(folder) as draft:
        (draft / "c").mkdir()
        write_bytes(draft / "c" / "one", large)
        write_bytes(draft / "two", b"2")
    check_manifest(folder)
    with pytest.raises(ArtifactError, match="exists already"), atomic_folder(folder):
        pass
    (folder / "c" / "one").write_bytes(large[:-1] + b"2")
    check_manifest(folder, deep=False)
    check_manifest(folder, names=["two"])
    with pytest.raises(ArtifactError, match="one is corrupt"):
        check_manifest(folder)
    (folder / "c" / "one").write_bytes(large[:-1])
    with pytest.raises(ArtifactError, match=r"one has 3145727 bytes, its manifest says 3145728"):
        check_manifest(folder, deep=False)
    (folder / "c" / "one").unlink()
    with pytest.raises(ArtifactError, match="one is missing"):
        check_manifest(folder, names=["c/one"])


def test_a_stamp_tells_a_file_from_the_one_it_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert files.stamp_of(path) is files.stamp_of(path / "below") is None
    write_bytes(path, b"one")
    before = files.stamp_of(path)
    assert files.stamp_of(path) == before
    write_bytes(path, b"two")
    os.utime(path, ns=(before[2], before[2]))
    assert files.stamp_of(path) != before

"""Whole files or none, a refusal before the disk is full, and one holder of a lock at a time."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from papagaio import files
from papagaio.errors import Busy, NoSpace

HOLD = """
import sys
from pathlib import Path

from papagaio import files

with files.lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""

READ = "import sys, pathlib; sys.stdout.buffer.write(pathlib.Path(sys.argv[1]).read_bytes())"


@contextmanager
def held_elsewhere(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until its stdin is closed or it is killed."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def is_free(path: Path) -> bool:
    try:
        with files.lock(path):
            return True
    except Busy:
        return False


def stop_after(file: IO[bytes], stop: type[BaseException]) -> None:
    file.write(b"half of the new")
    file.flush()
    raise stop


# Whole files.


@pytest.mark.parametrize("content", ["", "arara-azul, 17 €\n", b"", bytes(range(256)) * 500])
def test_what_was_written_is_what_another_process_reads(
    tmp_path: Path, content: str | bytes
) -> None:
    path = tmp_path / "a" / "b" / "file"
    files.write(path, content)
    read = subprocess.run([sys.executable, "-c", READ, path], capture_output=True, check=True)
    assert read.stdout == (content.encode() if isinstance(content, str) else content)
    assert names_in(path.parent) == ["file"]


@pytest.mark.parametrize("stop", [ValueError, KeyboardInterrupt, SystemExit])
def test_whatever_stops_a_block_leaves_the_old_file_and_no_other(
    tmp_path: Path, stop: type[BaseException]
) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(stop), files.writing(path) as file:
        stop_after(file, stop)
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["file"]


def test_a_first_file_that_fails_is_not_there_at_all(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), files.writing(tmp_path / "file") as file:
        file.write(b"%d" % (1 // 0))
    assert names_in(tmp_path) == []


def test_a_reader_sees_the_old_file_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        with files.writing(path) as file:
            file.write(b"new, and longer")
            file.flush()
            assert path.read_bytes() == b"old"
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new, and longer"


def test_a_file_is_on_the_disk_before_it_takes_the_old_ones_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    synced: list[tuple[int, bytes]] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        fsync(descriptor)
        synced.append((os.fstat(descriptor).st_size, path.read_bytes()))

    monkeypatch.setattr(os, "fsync", noted)
    files.write(path, b"x" * 1000)
    assert synced == [(1000, b"old")]


def test_a_file_may_be_read_back_while_it_is_written(tmp_path: Path) -> None:
    with files.writing(tmp_path / "file") as file:
        file.write(b"0123456789")
        file.seek(3)
        assert file.read(2) == b"34"


# A full disk.


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_line_that_names_the_file(tmp_path: Path, number: int) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(NoSpace, match="no space left on the disk") as caught, files.writing(path):
        raise OSError(number, os.strerror(number))
    assert str(caught.value).startswith(f"{path}: ")
    assert isinstance(caught.value.__cause__, OSError)
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["file"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.EROFS])
def test_another_error_of_the_system_is_left_as_it_is(tmp_path: Path, number: int) -> None:
    error = OSError(number, os.strerror(number))
    with (
        pytest.raises(OSError, match=os.strerror(number)) as caught,
        files.disk_full_is_no_space(tmp_path / "file"),
    ):
        raise error
    assert caught.value is error


def test_a_device_that_is_really_full_is_no_space() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("the system has no /dev/full")
    with pytest.raises(NoSpace, match="/dev/full"), files.disk_full_is_no_space(full):
        full.write_bytes(b"anything")


def test_a_file_that_cannot_fit_is_refused_with_both_sizes(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "images.npy"
    free = shutil.disk_usage(tmp_path).free
    size = free + 10**15
    with pytest.raises(NoSpace, match="choose another folder") as caught:
        files.need_space(path, size)
    assert f"{path.parent} needs {size / 1e6:,.0f} MB more and " in str(caught.value)
    assert " MB are free" in str(caught.value)
    assert not path.exists()


@pytest.mark.parametrize("size", [0, 1, 4096])
def test_a_file_that_fits_passes_and_its_folder_is_made(tmp_path: Path, size: int) -> None:
    files.need_space(tmp_path / "runs" / "images.npy", size)
    assert names_in(tmp_path) == ["runs"]
    assert names_in(tmp_path / "runs") == []


# The lock.


def test_a_second_holder_in_the_same_process_is_busy(tmp_path: Path) -> None:
    path = tmp_path / "run" / ".lock"
    with files.lock(path):
        with pytest.raises(Busy, match=r"\.lock") as caught, files.lock(path):
            pass
        assert str(caught.value).startswith(f"{tmp_path / 'run'}: another process")
        assert not is_free(path)
    assert is_free(path)


def test_a_second_holder_in_another_process_is_busy(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite.lock"
    with held_elsewhere(path) as holder:
        with pytest.raises(Busy, match=r"ledger\.sqlite\.lock") as caught, files.lock(path):
            pass
        assert f"{tmp_path}: " in str(caught.value)
        assert "another folder or ledger" in str(caught.value)
        holder.communicate()
        assert holder.returncode == 0
        assert is_free(path)


def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with held_elsewhere(path) as holder:
        assert not is_free(path)
        holder.kill()
        holder.wait()
        assert is_free(path)


@pytest.mark.parametrize("stop", [ValueError, KeyboardInterrupt])
def test_an_exception_lets_go(tmp_path: Path, stop: type[BaseException]) -> None:
    with pytest.raises(stop), files.lock(tmp_path / ".lock"):
        raise stop
    assert is_free(tmp_path / ".lock")


def test_what_a_kill_left_half_written_is_swept_and_nothing_else(tmp_path: Path) -> None:
    left = tmp_path / ".checkpoint.123.part"
    kept = [tmp_path / name for name in ("checkpoint", ".lock", "notes.part")]
    for path in (left, *kept):
        path.write_bytes(b"x")
    files.sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(kept)

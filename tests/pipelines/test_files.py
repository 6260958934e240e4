"""The atomic writer: whatever fails, a name holds its old bytes or its new ones."""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.disk import atomic as files
from pipelines.disk.atomic import publish_directory, sha256_of, write_bytes
from pipelines.errors import WorkFailed

CALLS = ("open", "mkdir", "write", "fsync", "replace", "rename", "close")


class _FailAt:
    """Let the k-th disk call fail, counted over all kinds of call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
        self.calls = 0
        self.at = at
        for name in CALLS:
            monkeypatch.setattr(files.os, name, self._wrapped(getattr(os, name), name))

    def _wrapped(self, call: Callable[..., object], name: str) -> Callable[..., object]:
        def counted(*arguments: object, **options: object) -> object:
            self.calls += 1
            if self.calls == self.at and name != "close":
                raise OSError(28, "No space left on device")
            return call(*arguments, **options)

        return counted


def never(_: Path) -> bool:
    """Keep no entry that is there already."""
    return False


def names(directory: Path) -> list[str]:
    """What stands in a directory."""
    return sorted(path.name for path in directory.iterdir())


def _disk_calls(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> int:
    with monkeypatch.context() as patch:
        counter = _FailAt(patch, at=0)
        act()
    return counter.calls


def test_write_returns_the_hash(tmp_path: Path) -> None:
    """The hash that comes back is that of the bytes on disk."""
    digest = write_bytes(tmp_path / "file", b"new")
    assert digest == hashlib.sha256(b"new").hexdigest() == sha256_of(tmp_path / "file")


def test_every_failed_call_leaves_old_or_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Failing the k-th disk call, for every k, leaves the old bytes or the new ones and no temporary file."""
    target = tmp_path / "file"
    total = _disk_calls(monkeypatch, lambda: write_bytes(target, b"old"))
    assert total >= 5
    failures = 0
    for k in range(1, total + 1):
        write_bytes(target, b"old")
        with monkeypatch.context() as patch:
            _FailAt(patch, at=k)
            try:
                write_bytes(target, b"new")
            except WorkFailed:
                failures += 1
        assert target.read_bytes() in (b"old", b"new"), k
        assert names(tmp_path) == ["file"], k
    assert failures >= 4


def test_every_failed_call_publishes_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory appears whole or not at all, and nothing temporary stays."""
    content = {"a": b"1", "b": b"2"}
    total = _disk_calls(monkeypatch, lambda: publish_directory(tmp_path / "warm-up", content, keep=never))
    assert total >= 8
    for k in range(1, total + 1):
        target = tmp_path / f"entry{k}"
        with monkeypatch.context() as patch:
            _FailAt(patch, at=k)
            with contextlib.suppress(WorkFailed):
                publish_directory(target, content, keep=never)
        found = {path.name: path.read_bytes() for path in target.iterdir()} if target.exists() else {}
        assert found in ({}, content), k
        assert not [name for name in names(tmp_path) if name.startswith(files.TEMPORARY)], k


def test_every_failed_call_replaces_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that may not stay is replaced whole; until then it is the old one, never a mixture."""
    publish_directory(tmp_path / "warm-up", {"a": b"old"}, keep=never)
    total = _disk_calls(monkeypatch, lambda: publish_directory(tmp_path / "warm-up", {"a": b"new"}, keep=never))
    seen = set()
    for k in range(1, total + 1):
        target = tmp_path / f"entry{k}"
        publish_directory(target, {"a": b"old"}, keep=never)
        with monkeypatch.context() as patch:
            _FailAt(patch, at=k)
            with contextlib.suppress(WorkFailed):
                publish_directory(target, {"a": b"new"}, keep=never)
        found = {path.name: path.read_bytes() for path in target.iterdir()} if target.exists() else {}
        assert found in ({"a": b"old"}, {"a": b"new"}), k
        assert not [name for name in names(tmp_path) if name.startswith(files.TEMPORARY)], k
        seen |= set(found.values())
    assert seen == {b"old", b"new"}


def test_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    """A write that the system cuts short is a failure with the old bytes in place, and no temporary file."""
    write_bytes(tmp_path / "file", b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(WorkFailed, match="File too large"):
            write_bytes(tmp_path / "file", bytes(10_000))
        with pytest.raises(WorkFailed, match="File too large"):
            publish_directory(tmp_path / "entry", {"a": b"1", "b": bytes(10_000)}, keep=never)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_second_publisher_keeps_the_first(tmp_path: Path) -> None:
    """Where the name is taken and what is there is sound, it stays, and no leftover does."""
    publish_directory(tmp_path / "entry", {"a": b"first"}, keep=never)
    asked = []
    publish_directory(tmp_path / "entry", {"a": b"second"}, keep=lambda path: asked.append(path) is None)
    assert asked == [tmp_path / "entry"]
    assert (tmp_path / "entry" / "a").read_bytes() == b"first"
    assert names(tmp_path) == ["entry"]


def test_only_directories_are_replaced(tmp_path: Path) -> None:
    """A file in the way of a directory is refused, not replaced."""
    (tmp_path / "entry").write_text("precious")
    with pytest.raises(WorkFailed, match="not a directory"):
        publish_directory(tmp_path / "entry", {"a": b"new"}, keep=never)
    assert (tmp_path / "entry").read_text() == "precious"
    assert names(tmp_path) == ["entry"]


def test_bytes_are_on_the_disk_before_their_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are synced before the rename and the directory after it, so that a power cut leaves old or new."""
    order = []
    for name in ("fsync", "replace", "rename"):
        call = getattr(os, name)
        monkeypatch.setattr(
            files.os, name, lambda *arguments, name=name, call=call: order.append(name) or call(*arguments)
        )
    write_bytes(tmp_path / "file", b"new")
    assert order == ["fsync", "replace", "fsync"]
    order.clear()
    publish_directory(tmp_path / "entry", {"a": b"1", "b": b"2"}, keep=never)
    assert order == ["fsync", "fsync", "fsync", "rename", "fsync"]


def test_other_bytes_on_disk_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that gives back other bytes than were written fails the write before the rename."""
    write_bytes(tmp_path / "file", b"old")
    monkeypatch.setattr(files, "sha256_of", lambda path: "0" * 64)
    with pytest.raises(WorkFailed, match="gives back other bytes"):
        write_bytes(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.symlink_to("elsewhere")])
def test_only_regular_files_are_replaced(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """A directory or a link in the way is refused, not replaced."""
    make(tmp_path / "target")
    with pytest.raises(WorkFailed, match="not a regular file"):
        write_bytes(tmp_path / "target", b"new")


def test_mode_follows_the_umask(tmp_path: Path) -> None:
    """Files get the mode that any program's files get."""
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "file", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640

"""Downloads: a mirror on this machine, whose every answer is checked before it gets a name."""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import attrs
import pooch
import pytest

from pipelines.artifacts import SourceFile
from pipelines.dataset import download as module
from pipelines.dataset.download import download
from pipelines.dataset.pins import Sources, official_sources
from pipelines.errors import DataProblem, UsageProblem, WorkFailed

NOWHERE = "http://127.0.0.1:9/"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        return None


@pytest.fixture
def mirror(tmp_path: Path, own_data: Path) -> Iterator[tuple[str, Path]]:
    """An HTTP server of a folder with four gzipped IDX files; its address and the folder."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    for path in own_data.iterdir():
        (folder / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", folder
        server.shutdown()
        thread.join()


@pytest.fixture
def pinned(own_data: Path) -> Sources:
    """Pins of the small files, as ``data/sources.toml`` has them of the official ones."""
    known = official_sources()

    def pin(role: str) -> SourceFile:
        data = (own_data / known.names[role]).read_bytes()
        return SourceFile(role, hashlib.sha256(data).hexdigest(), len(data))

    return attrs.evolve(known, files=tuple(pin(file.role) for file in known.files))


def _use(monkeypatch: pytest.MonkeyPatch, pinned: Sources, mirrors: Sequence[str]) -> None:
    monkeypatch.setattr(module, "official_sources", lambda: attrs.evolve(pinned, mirrors=tuple(mirrors)))


def test_files_arrive_from_the_second_mirror(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: tuple[str, Path], pinned: Sources
) -> None:
    """Where the first mirror is silent the next one serves, and the four files land as they were."""
    address, folder = mirror
    _use(monkeypatch, pinned, [NOWHERE, address])
    paths = download(tmp_path / "new" / "raw")
    assert [path.name for path in paths] == [f"{name}.gz" for name in pinned.names.values()]
    assert [path.read_bytes() for path in paths] == [(folder / path.name).read_bytes() for path in paths]
    assert sorted((tmp_path / "new" / "raw").iterdir()) == sorted(paths)


@pytest.mark.parametrize("kind", ["as an encoding", "packed twice", "unpacked"])
def test_a_mirror_may_unpack_on_the_way(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mirror: tuple[str, Path],
    pinned: Sources,
    own_data: Path,
    kind: str,
) -> None:
    """A mirror that calls gzip an encoding of the transfer, or sends the plain file, is fine: the content is pinned."""
    address, folder = mirror
    for path in folder.iterdir():
        packed = path.read_bytes()
        path.write_bytes({"packed twice": gzip.compress(packed), "unpacked": gzip.decompress(packed)}.get(kind, packed))
    if kind != "unpacked":
        monkeypatch.setattr(_Quiet, "end_headers", _with_encoding)
    _use(monkeypatch, pinned, [address])
    for path in download(tmp_path / "raw"):
        assert gzip.decompress(path.read_bytes()) == (own_data / path.stem).read_bytes()
    _use(monkeypatch, pinned, [])
    assert len(download(tmp_path / "raw")) == 4


def test_an_encoding_does_not_make_other_content_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: tuple[str, Path], pinned: Sources
) -> None:
    """What is unpacked on the way is hashed and capped like all else."""
    address, folder = mirror
    monkeypatch.setattr(_Quiet, "end_headers", _with_encoding)
    _use(monkeypatch, pinned, [address])
    path = folder / "train-images-idx3-ubyte.gz"
    data = gzip.decompress(path.read_bytes())
    for content, message in ((data[:-1] + b"x", "expected SHA-256"), (bytes(1 << 24), "sends more than")):
        path.write_bytes(gzip.compress(content))
        with pytest.raises(DataProblem, match=message):
            download(tmp_path / "raw")
        assert list((tmp_path / "raw").iterdir()) == []


def _with_encoding(self: _Quiet) -> None:
    self.send_header("Content-Encoding", "gzip")
    SimpleHTTPRequestHandler.end_headers(self)


def test_files_that_are_there_are_not_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: tuple[str, Path], pinned: Sources
) -> None:
    """A second download needs no mirror; a damaged file is fetched anew."""
    _use(monkeypatch, pinned, [mirror[0]])
    paths = download(tmp_path / "raw")
    good = paths[0].read_bytes()
    _use(monkeypatch, pinned, [])
    assert download(tmp_path / "raw") == paths
    paths[0].write_bytes(b"damaged")
    _use(monkeypatch, pinned, [mirror[0]])
    download(tmp_path / "raw")
    assert paths[0].read_bytes() == good


def test_other_content_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: tuple[str, Path], pinned: Sources
) -> None:
    """A mirror that serves other bytes leaves no file, and the message names mirror and hashes."""
    address, folder = mirror
    path = folder / "train-images-idx3-ubyte.gz"
    data = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(data[:-1] + bytes([data[-1] ^ 1])))
    _use(monkeypatch, pinned, [address])
    with pytest.raises(DataProblem, match="expected SHA-256") as caught:
        download(tmp_path / "raw")
    assert address in caught.value.what
    assert list((tmp_path / "raw").iterdir()) == []


def test_endless_answers_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: tuple[str, Path], pinned: Sources
) -> None:
    """A mirror that sends more than the file can hold is cut off, not stored."""
    address, folder = mirror
    (folder / "train-images-idx3-ubyte.gz").write_bytes(bytes(1_000_000))
    _use(monkeypatch, pinned, [address])
    with pytest.raises(DataProblem, match="sends more than the file can hold"):
        download(tmp_path / "raw")
    assert list((tmp_path / "raw").iterdir()) == []


def test_every_mirror_that_failed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: tuple[str, Path], pinned: Sources
) -> None:
    """Without a network, or with a file that is not there, the message says of each mirror why, and what to do."""
    address, folder = mirror
    (folder / "train-images-idx3-ubyte.gz").unlink()
    _use(monkeypatch, pinned, [NOWHERE, address])
    with pytest.raises(DataProblem) as caught:
        download(tmp_path / "raw")
    assert f"{NOWHERE}: ConnectionError" in caught.value.what
    assert f"{address}: HTTPError: 404" in caught.value.what
    assert "--source" in caught.value.remedy


def test_without_pooch_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: tuple[str, Path], pinned: Sources
) -> None:
    """Where the optional extra is not installed, the message says how to install it."""
    _use(monkeypatch, pinned, [mirror[0]])
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(UsageProblem) as caught:
        download(tmp_path / "raw")
    assert "bpfunc[download]" in caught.value.remedy


def test_place_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pinned: Sources) -> None:
    """A file in the way of the directory is named, not shown as a traceback."""
    _use(monkeypatch, pinned, [])
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkFailed, match="file/raw"):
        download(tmp_path / "file" / "raw")


def test_command_lists_what_it_fetched(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    mirror: tuple[str, Path],
    pinned: Sources,
) -> None:
    """`bpfunc data download --json` prints one document with the four paths, and nothing of pooch's own talk."""
    monkeypatch.setattr(pooch.get_logger(), "handlers", [caplog.handler])  # it stands outside the logging tree
    pooch.get_logger().setLevel("INFO")
    from typer.testing import CliRunner

    from pipelines.cli.main import app

    _use(monkeypatch, pinned, [mirror[0]])
    done = CliRunner().invoke(app, ["data", "download", "--raw", str(tmp_path / "raw"), "--json"])
    assert done.exit_code == 0, done.output
    assert [Path(path).name for path in json.loads(done.stdout)["files"]] == [f"{n}.gz" for n in pinned.names.values()]
    assert done.stderr == "4 files, each as pinned\n"
    assert caplog.records == []

"""Getting the official files from the public mirrors: hash-checked, size-capped, tried one mirror after the other."""

from __future__ import annotations

import gzip
import hashlib
import tempfile
from pathlib import Path
from typing import IO

from pipelines.artifacts import SourceFile
from pipelines.dataset.idx import read_idx
from pipelines.dataset.pins import IDX_DIMENSIONS, Sources, official_sources
from pipelines.disk.atomic import make_directory, write_bytes
from pipelines.errors import DataProblem, UsageProblem

_GZIP = b"\x1f\x8b"


class _Capped:
    """A file that refuses to grow past a limit; what a mirror sends is not believed."""

    def __init__(self, file: IO[bytes], limit: int) -> None:
        self._file, self._left = file, limit

    def write(self, data: bytes) -> int:
        self._left -= len(data)
        if self._left < 0:
            raise ValueError("the mirror sends more than the file can hold")
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def download(raw: Path) -> list[Path]:
    """Download the four official files, those that are not there yet.

    Args:
        raw: Where to put them.

    Returns:
        Their paths.

    Raises:
        UsageProblem: pooch, the optional extra ``download``, is not installed.
        DataProblem: No mirror gave a file with the pinned content, or other data lies under a file's name.
        WorkFailed: The directory cannot be made, or a file not be written.
    """
    known = official_sources()
    make_directory(raw)
    return [_fetched(raw / f"{known.names[file.role]}.gz", file, known) for file in known.files]


def _fetched(target: Path, file: SourceFile, known: Sources) -> Path:
    if target.exists() and _content_problem(target, file) is None:
        return target
    if target.exists() and _is_idx(target, file):
        raise DataProblem(
            "this is other data under the name of an official file",
            where=str(target),
            remedy="move it elsewhere, or choose another --raw",
        )
    problems = []
    for mirror in known.mirrors:
        with tempfile.TemporaryDirectory() as directory:
            fetched = Path(directory) / target.name
            problem = _transfer(mirror + target.name, fetched, file.size) or _content_problem(fetched, file)
            if problem is None:
                write_bytes(target, fetched.read_bytes())
                return target
            problems.append(f"{mirror}: {problem}")
    raise DataProblem(
        f"no mirror gave {target.name}: {'; '.join(problems)}",
        where=str(target),
        remedy="check the network, or install Debian's package dataset-fashion-mnist, or name a --source DIR",
    )


def _transfer(url: str, target: Path, size: int) -> str | None:
    try:
        import pooch
        import requests
    except ImportError:
        raise UsageProblem(
            "downloading needs the optional extra `download`",
            where="bpfunc data download",
            remedy="pip install 'bpfunc[download]'",
        ) from None

    pooch.get_logger().setLevel("WARNING")  # it would ask people to pin hashes that are pinned already

    def capped(address: str, output: str, manager: object) -> None:
        with Path(output).open("wb") as file:
            # Compressed pixels never outgrow the pixels by more than gzip's own few bytes.
            pooch.HTTPDownloader(timeout=30)(address, _Capped(file, size + 65536), manager)

    try:
        pooch.retrieve(url, known_hash=None, fname=target.name, path=target.parent, downloader=capped)
    except (requests.RequestException, OSError, ValueError) as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    data = target.read_bytes()
    if not data.startswith(_GZIP):  # sent with Content-Encoding: gzip, and unpacked on the way
        write_bytes(target, gzip.compress(data, mtime=0))
    return None


def _is_idx(path: Path, file: SourceFile) -> bool:
    try:
        read_idx(path, dimensions=IDX_DIMENSIONS[file.role])
    except DataProblem:
        return False
    return True


def _content_problem(path: Path, file: SourceFile) -> str | None:
    try:
        data, _ = read_idx(path, dimensions=IDX_DIMENSIONS[file.role])
    except DataProblem as problem:
        return problem.what
    found = hashlib.sha256(data).hexdigest()
    return None if found == file.sha256 else f"expected SHA-256 {file.sha256}, found {found}"

"""The pins of ``data/sources.toml`` as typed values."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, cast

import attrs

from pipelines.artifacts import SourceFile
from pipelines.disk.untrusted.documents import read_toml

ROLES = ("train_images", "train_labels", "test_images", "test_labels")


IDX_DIMENSIONS = {"train_images": 3, "train_labels": 1, "test_images": 3, "test_labels": 1}


@attrs.frozen
class BundleFile:
    """One Parquet file of the embedded subset."""

    path: Path
    sha256: str
    rows: int


@attrs.frozen
class Sources:
    """What is known of the official data."""

    names: dict[str, str]
    """Role -> name of the IDX file, without ``.gz``."""
    files: tuple[SourceFile, ...]
    """In the order of `ROLES`."""
    mirrors: tuple[str, ...]
    system_directories: tuple[Path, ...]
    bundle_classes: tuple[int, ...]
    bundle_train: BundleFile
    bundle_test: BundleFile


@cache
def official_sources() -> Sources:
    """Read the pins.

    Returns:
        The official files, where they may be, and the embedded subset.

    Example:
        >>> [file.size for file in official_sources().files if file.role == "test_labels"]
        [10008]
    """
    directory = data_directory()
    pins = cast("dict[str, Any]", read_toml(directory / "sources.toml", "pins"))
    train, test = (
        BundleFile(directory / "bundle" / entry["file"], entry["sha256"], entry["rows"])
        for entry in (pins["bundle"]["train"], pins["bundle"]["test"])
    )
    return Sources(
        names={role: pins["files"][role]["name"] for role in ROLES},
        files=tuple(SourceFile(role, pins["files"][role]["sha256"], pins["files"][role]["size"]) for role in ROLES),
        mirrors=tuple(pins["mirrors"]),
        system_directories=tuple(Path(path) for path in pins["system_directories"]),
        bundle_classes=tuple(pins["bundle"]["classes"]),
        bundle_train=train,
        bundle_test=test,
    )


def idx_file(directory: Path, role: str) -> Path:
    """Find one of the four IDX files in a directory: a plain file before a gzipped one, in either spelling.

    Args:
        directory: Where to look.
        role: One of `ROLES`.

    Returns:
        Its path; that of the gzipped file in the authors' spelling where there is none.

    Example:
        >>> idx_file(Path("somewhere"), "test_labels").name
        't10k-labels-idx1-ubyte.gz'
    """
    paths = [directory / name for name in idx_names(role)]
    return next((path for path in paths if path.exists()), paths[2])


def idx_names(role: str) -> tuple[str, str, str, str]:
    """List the names that an IDX file may have.

    Args:
        role: One of `ROLES`.

    Returns:
        With a hyphen before ``idx`` as the authors spell it, and with a full stop as other copies do; then both of the
        gzipped file.

    Example:
        >>> idx_names("test_labels")[:2]
        ('t10k-labels-idx1-ubyte', 't10k-labels.idx1-ubyte')
    """
    hyphen = official_sources().names[role]
    stop = hyphen.replace("-idx", ".idx")
    return hyphen, stop, f"{hyphen}.gz", f"{stop}.gz"


def data_directory() -> Path:
    """Find the data that comes with the project.

    Returns:
        ``pipelines/data`` in an installed wheel, the project's ``data`` in a checkout.

    Example:
        >>> (data_directory() / "sources.toml").is_file()
        True
    """
    package = Path(__file__).parents[1]
    installed = package / "data"
    return installed if installed.is_dir() else package.parent / "data"

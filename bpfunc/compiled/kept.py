"""Machine code kept on disk between processes, one file for each function and set of types.

A file is named by a hash of all that its machine code depends on: the function, the types, the processor, the versions
of Python, numba, llvmlite and NumPy, and the sources of this package. It holds a checksum of its content and is put in
place by one rename, so two processes that write at once, or one that is killed, leave whole files. A file that cannot
be read, or a directory that cannot be written to, costs time and nothing else: then the code is made in memory.

What is read is run, as any compiler's cache is. So a file is read only where no other user can have written it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import platform
import re
import sys
import tempfile
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from bpfunc.compiled.observer import told

numba: Any = import_module("numba")  # which says nothing of its types
_caching: Any = import_module("numba.core.caching")
_callback: Any = import_module("numba.core.ccallback")
_serialize: Any = import_module("numba.core.serialize")
CHECKSUM = 32
"""Bytes before the content of a file: its SHA-256."""


def directory() -> Path:
    """Find where machine code is kept.

    Returns:
        A folder for these versions and sources, in ``NUMBA_CACHE_DIR`` if that is set in the environment, else in
        ``BPFUNC_CACHE``, else in the user's cache directory.

    Example:
        >>> directory().parent.name
        'machine-code'
    """
    home = Path("~").expanduser() if os.environ.get("HOME") or os.name == "nt" else Path(tempfile.gettempdir())
    user = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or home / ".cache"
    root = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("BPFUNC_CACHE") or Path(user) / "bpfunc"
    return Path(root) / "machine-code" / _versions()


@lru_cache
def _versions() -> str:
    """A hash of what all machine code depends on."""
    found = hashlib.sha256()
    settings = [getattr(numba.config, name, None) for name in ("BOUNDSCHECK", "OPT", "DISABLE_INTEL_SVML", "CPU_NAME")]
    llvm = import_module("llvmlite").__version__
    versions = (sys.version, platform.platform(), numba.__version__, llvm, np.__version__, settings)
    found.update(repr(versions).encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()[:20]


def _is_private(place: Path) -> bool:
    """Whether only this user can have written there: what is read from it is run."""
    if not hasattr(os, "getuid"):
        return True
    status = place.stat()
    return status.st_uid == os.getuid() and not status.st_mode & 0o022


class _File:
    """The entries of one function; `load` answers None where there is nothing that can be trusted."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._name = re.sub(r"\W", "", function.__name__)
        code = function.__code__
        told = (function.__module__, function.__qualname__, code.co_code, code.co_consts, code.co_names)
        self._code = hashlib.sha256(repr(told).encode()).hexdigest()

    def _path(self, key: object) -> Path:
        named = hashlib.sha256(f"{self._code} {key!r}".encode()).hexdigest()
        return directory() / f"{self._name}-{named[:32]}.code"

    def load(self, key: object) -> Any:
        path = self._path(key)
        with contextlib.suppress(OSError):
            if _is_private(path.parent) and _is_private(path):
                whole = path.read_bytes()
                content = whole[CHECKSUM:]
                if hashlib.sha256(content).digest() == whole[:CHECKSUM]:
                    told, payload = pickle.loads(content)
                    return payload if told == repr(key) else None
        return None

    def save(self, key: object, payload: object) -> None:
        path = self._path(key)
        content = _serialize.dumps((repr(key), payload))
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not _is_private(path.parent):
            return
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(content).digest() + content)
            Path(name).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise


class _Content(_caching.CompileResultCacheImpl):  # type: ignore[misc]  # numba has no types
    """How numba turns machine code into bytes and back; where these are kept is not its business here."""

    def __init__(self) -> None:
        pass

    def check_cachable(self, made: Any) -> bool:
        return not made.library.has_dynamic_globals and not made.lifted


class _Store(_caching.FunctionCache):  # type: ignore[misc]
    """What numba asks for machine code before it makes some."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._name, self._py_func, self._impl = repr(function), function, _Content()
        self._cache_path, self._cache_file = "", _File(function)
        self.enable()

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        found = None
        with contextlib.suppress(Exception):  # whatever a file holds: it is made again
            target_context.refresh()
            found = self._load_overload(sig, target_context)
        if found is None:
            told(directory())
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        with contextlib.suppress(Exception):  # what cannot be kept is made again by the next process
            if self._impl.check_cachable(data):
                self._cache_file.save(self._index_key(sig, data.codegen), self._impl.reduce(data))


def kept(dispatcher: Any) -> Any:
    """Let numba keep on disk what it makes of a function.

    Args:
        dispatcher: From ``numba.njit``, of a function that encloses nothing and whose name no other function has.

    Returns:
        The same.

    Example:
        >>> @numba.njit
        ... def double(x):
        ...     return 2 * x
        >>> kept(double)(1.5)
        3.0
    """
    dispatcher._cache = _Store(dispatcher.py_func)
    return dispatcher


def kept_by_address(function: Callable[..., Any], signature: Any) -> Any:
    """Compile a function that compiled code calls by its address; kept on disk.

    Args:
        function: One that encloses nothing and whose name no other function has.
        signature: Numba's, with the type of the result.

    Returns:
        Numba's ``CFunc``.

    Raises:
        numba.core.errors.NumbaError: The function cannot be compiled.

    Example:
        >>> kept_by_address(lambda x: x, numba.types.float64(numba.types.float64)).ctypes(2.0)
        2.0
    """
    made = _callback.CFunc(function, (signature.args, signature.return_type), {}, {"error_model": "numpy"})
    made._cache = _Store(function)
    made.compile()
    return made

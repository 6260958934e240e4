"""The command ``bpfunc``: starts the command line of the package `pipelines` that lies beside this file.

Another package of that name may come first on the path, such as a user's own. This file is outside both packages: the
library does not know the pipeline, and the pipeline cannot be found by its own code.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path


def main() -> None:
    """Run the command line."""
    put_first(Path(__file__).resolve().parent)
    import_module("pipelines.cli.main").main()


def put_first(parent: Path) -> None:
    """See to it that `pipelines` is the package in a directory, here and in worker processes, which take the path over.

    Args:
        parent: The directory that both packages lie in.
    """
    found = find_spec("pipelines")
    places = [] if found is None else list(found.submodule_search_locations or [])
    if [Path(place).resolve() for place in places] == [parent / "pipelines"]:
        return
    for name in [name for name in sys.modules if name.partition(".")[0] == "pipelines"]:
        del sys.modules[name]
    sys.path.insert(0, str(parent))


if __name__ == "__main__":
    main()

"""Seconds until anything can begin: imports, and the command line's help."""

from __future__ import annotations

from importlib.util import find_spec

from tests.benchmarks.processes import ProcessFailedError, ProcessTime, in_turns
from tests.benchmarks.settings import Settings, python

OURS = {
    "import bpfunc": ("-c", "import bpfunc"),
    "bpfunc --help": ("-m", "pipelines", "--help"),
    "first step, NumPy": ("-c", "from tests.benchmarks import ours; ours.first_step('numpy')"),
}
if find_spec("numba"):
    OURS["first step, kept machine code"] = ("-c", "from tests.benchmarks import ours; ours.first_step('compiled')")
PEERS = {
    "import torch": ("-c", "import torch"),
    "import jax, optax": ("-c", "import jax.numpy, optax"),
    "import sklearn.neural_network": ("-c", "import sklearn.neural_network"),
}
REFERENCE = "import numpy"


def measure(settings: Settings) -> tuple[ProcessTime, ...]:
    """Start each process again and again, in turns.

    Args:
        settings: Threads, quick or not.

    Returns:
        Times; those of ``import numpy`` first.

    Raises:
        ProcessFailedError: One of ours, or NumPy's, failed.
    """
    print("cold start", flush=True)
    commands = {REFERENCE: ("-c", "import numpy"), **OURS, **({} if settings.peers else PEERS)}
    times = in_turns(
        {name: lambda number, arguments=arguments: python(*arguments) for name, arguments in commands.items()},
        threads=settings.threads,
        rounds=3 if settings.quick else 15,
        warm_up=1,
    )
    for time in times:
        if time.seconds is None and time.name not in PEERS:
            raise ProcessFailedError(time.note)
    return times

"""Which engine runs a training: NumPy, or machine code where that is installed and knows the training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import attrs
import numpy as np

from bpfunc import Batch
from bpfunc.compiled import choice
from bpfunc.compiled.observer import observed
from bpfunc.gradient.modes import GradientMaker, value_and_grad
from bpfunc.training.step import StepFn
from pipelines.artifacts import PIXELS, EngineName, EngineUsed
from pipelines.errors import UsageProblem, first_line
from pipelines.spec.run_spec import RECORDED, RunSpec  # noqa: F401  # an example takes the first
from pipelines.training.build import Training, build_training
from pipelines.training.replay import first_state

FIELD = "train.engine"
OTHER = "choose numpy or auto"
DIGITS = 5
"""Of the largest number of threads that a file may name."""


def choose_engine(spec: RunSpec, gradient: GradientMaker = value_and_grad) -> EngineName:
    """Choose the engine of a training, by its configuration and the installed packages alone.

    Args:
        spec: Names the engine, or leaves the choice with ``auto``.
        gradient: How to get the gradient of a batch; one that processes share out is NumPy's.

    Returns:
        ``compiled``, if that is asked for or left open, the extra `fast` is installed, and the engine knows the
        training; else ``numpy``.

    Raises:
        UsageProblem: The compiled engine is asked for, and is not installed or does not know this training.

    Example:
        >>> choose_engine(RECORDED)
        'numpy'
    """
    return "numpy" if spec.train.engine == "numpy" else engine_of(build_training(spec), spec.train.engine, gradient)


def engine_of(training: Training, asked: str, gradient: GradientMaker = value_and_grad) -> EngineName:
    """Settle what runs a training whose parts are built.

    Args:
        training: Its parts.
        asked: ``auto``, ``numpy`` or ``compiled``.
        gradient: See `choose_engine`.

    Returns:
        See `choose_engine`.

    Raises:
        UsageProblem: See `choose_engine`.

    Example:
        >>> engine_of(build_training(RECORDED), "numpy")
        'numpy'
    """
    if asked == "numpy":
        return "numpy"
    reason, remedy = _why_not(training, gradient)
    if not reason:
        return "compiled"
    if asked == "auto":
        return "numpy"
    raise UsageProblem(reason, where=FIELD, remedy=remedy)


def _why_not(training: Training, gradient: GradientMaker) -> tuple[str, str]:
    """Why a training cannot be compiled, and what to do about it; empty where it can be."""
    if gradient is not value_and_grad:
        return "the compiled engine does not share a batch out among processes", OTHER
    try:
        choice.choose_engine("compiled", training.model, training.loss, training.transform)
    except ImportError as missing:
        return f"the compiled engine is not installed: {first_line(missing)}", "pip install 'bpfunc[fast]'"
    except (TypeError, ValueError) as unknown:
        return f"the compiled engine does not know this training: {first_line(unknown)}", OTHER
    return "", ""


def why_numpy(spec: RunSpec, gradient: GradientMaker = value_and_grad) -> str:
    """Return why ``auto`` takes NumPy although machine code is installed.

    Args:
        spec: Any.
        gradient: As for `choose_engine`.

    Returns:
        A sentence; empty where another engine is asked for, machine code trains, or is not installed.

    Example:
        >>> why_numpy(RECORDED)
        ''
    """
    if spec.train.engine != "auto":
        return ""
    training = build_training(spec)
    plain = _why_not(training, value_and_grad)
    reason, remedy = plain if plain[0] else _why_not(training, gradient)
    return f"NumPy trained this: {reason}" if reason and remedy == OTHER else ""


def settled(spec: RunSpec) -> RunSpec:
    """Put the engine that is chosen into a specification, to send it with the work.

    Args:
        spec: Any.

    Returns:
        The specification with ``numpy`` or ``compiled``.

    Raises:
        UsageProblem: See `choose_engine`.

    Example:
        >>> settled(RunSpec()).train.engine in ("numpy", "compiled")
        True
    """
    return attrs.evolve(spec, train=attrs.evolve(spec.train, engine=choose_engine(spec)))


def compiled_training(
    training: Training, *, threads: int | None = None, listen: Callable[[], None] = lambda: None
) -> tuple[StepFn, int]:
    """Build the training step of the compiled engine.

    Args:
        training: Its parts.
        threads: How many share the work; as many as the matrix products take where None.
        listen: Asked several times a second while it works; what it raises ends the work.

    Returns:
        The step, and the number of threads.

    Raises:
        ImportError: The extra `fast` is not installed.
        TypeError: A part cannot be compiled.
        ValueError: A part is not known to the engine.
    """
    from bpfunc.interop.numba import compiled_step

    step = compiled_step(training.model, training.loss, training.transform, threads=threads, listen=listen)
    return step, step.threads


def make_machine_code(spec: RunSpec) -> None:
    """Make the machine code of a training and keep it on disk, so that several workers do not all make it.

    Args:
        spec: Network and training; nothing is done where NumPy runs it.

    Raises:
        UsageProblem: See `choose_engine`.
    """
    if choose_engine(spec) == "compiled":
        training = build_training(spec)
        try_step(compiled_training(training, threads=1)[0], training)


def try_step(step: StepFn, training: Training) -> None:
    """Run one step on a black image and discard the result, so that its machine code exists afterwards.

    Args:
        step: From `compiled_training`.
        training: Its parts.
    """
    classes = len(training.spec.dataset.classes)
    step(first_state(training), Batch(np.zeros((1, PIXELS), np.float32), np.zeros((1, classes), np.float32)))


@contextmanager
def telling(tell: Callable[[str], None]) -> Iterator[None]:
    """Tell a person once, within the block, that machine code is being made and why that takes a while.

    Args:
        tell: Takes the sentence.

    Yields:
        Nothing.
    """
    words = "making machine code for this training, which takes some seconds and is done once; it is kept in {}"
    with observed(lambda directory: tell(words.format(directory))):
        yield


def engine_metadata(used: EngineUsed) -> dict[str, str]:
    """Write down in a file's header what ran a training.

    Args:
        used: The engine and its threads.

    Returns:
        Name -> text.

    Example:
        >>> engine_metadata(EngineUsed("compiled", 2))
        {'engine': 'compiled', 'threads': '2'}
    """
    return {"engine": used.name, "threads": "" if used.threads is None else str(used.threads)}


def engine_used(metadata: Mapping[str, str]) -> EngineUsed:
    """Read what `engine_metadata` wrote; a file of an earlier version names none, and NumPy ran all of those.

    Args:
        metadata: From a file's header.

    Returns:
        The engine and its threads.

    Raises:
        ValueError: The text is not what was written.

    Example:
        >>> engine_used({}), engine_used({"engine": "compiled", "threads": "2"})
        (EngineUsed(name='numpy', threads=None), EngineUsed(name='compiled', threads=2))
    """
    name, threads = metadata.get("engine", "numpy"), metadata.get("threads", "")
    known = threads.isascii() and threads.isdecimal() and len(threads) <= DIGITS and int(threads) > 0
    if name not in ("numpy", "compiled") or not (known or (not threads and name == "numpy")):
        raise ValueError(f"engine {name[:40]!r} with {threads[:40]!r} threads")
    return EngineUsed("compiled" if name == "compiled" else "numpy", int(threads) if known else None)

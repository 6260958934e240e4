"""Training by several processes at once, as ``mpiexec -n 2 bpfunc train --data-parallel`` starts them.

Rank 0 alone writes files and messages. An error of any process ends them all.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

import attrs
import numpy as np

from bpfunc.arrays.types import FloatArray
from bpfunc.gradient.data_parallel import data_parallel
from bpfunc.training.not_finite import NotFiniteError
from pipelines.artifacts import Prepared
from pipelines.dataset.data_hashes import data_hashes
from pipelines.dataset.places import Places
from pipelines.errors import DataProblem, PipelineError, UsageProblem, first_line
from pipelines.runs.checkpoints import EVERY_SECONDS
from pipelines.runs.directory import Finished
from pipelines.runs.run import train_run
from pipelines.spec.run_spec import RunSpec
from pipelines.stages.prepare import prepare
from pipelines.stages.train import fit
from pipelines.training.interrupts import EXIT_CODE, Interrupted
from pipelines.training.progress import Observer, no_observer
from pipelines.training.rows import training_rows

if TYPE_CHECKING:
    from mpi4py.MPI import Intracomm

TURN_SECONDS = 1.0
"""How long each rank lets the ranks before it speak, where all may have met the same error."""


@attrs.frozen(eq=False)
class MpiProcesses:
    """A `bpfunc.gradient.data_parallel.Communicator` over MPI."""

    comm: Intracomm

    @property
    def size(self) -> int:
        """How many processes there are."""
        return self.comm.Get_size()

    @property
    def rank(self) -> int:
        """Which one this is."""
        return self.comm.Get_rank()

    def allreduce_sum(self, vector: FloatArray) -> FloatArray:
        """Add up the vectors of all; one Allreduce."""
        total = np.empty_like(vector)
        self.comm.Allreduce(vector, total)
        return total


@contextmanager
def mpi_processes() -> Iterator[MpiProcesses]:
    """Join the processes that ``mpiexec`` started; where one fails within the block, all end.

    Signals go to rank 0, which saves a checkpoint and ends the others; these do not listen.

    Yields:
        The processes.

    Raises:
        UsageProblem: There is no mpi4py, or no MPI library.
    """
    try:
        from mpi4py import MPI
        from mpi4py.run import set_abort_status
    except (ImportError, RuntimeError) as error:
        raise UsageProblem(
            f"training by several processes needs mpi4py and an MPI library: {first_line(error)}",
            where="--data-parallel",
            remedy="pip install 'bpfunc[mpi]'",
        ) from None
    processes = MpiProcesses(MPI.COMM_WORLD)
    if processes.rank:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
    try:
        yield processes
    except BaseException as error:
        if processes.size > 1:
            time.sleep(_turn(processes.rank, error))
            set_abort_status(_exit_code(error))  # when Python exits, after the message, the others are ended
        raise


def _turn(rank: int, error: BaseException) -> float:
    # What is not finite is found by all at the same step, and rank 0 saves a checkpoint before it says so.
    return min(rank, 10) * TURN_SECONDS * (30 if isinstance(error, NotFiniteError) else 1)


def _exit_code(error: BaseException) -> int:
    if isinstance(error, PipelineError):
        return error.exit_code
    return EXIT_CODE if isinstance(error, Interrupted | KeyboardInterrupt) else 1


def train_together(
    spec: RunSpec,
    places: Places,
    processes: MpiProcesses,
    *,
    now: datetime,
    observe: Observer = no_observer,
    every: float = EVERY_SECONDS,
) -> Finished | None:
    """Prepare the data and train, every batch shared out among the processes; the test split stays sealed.

    Args:
        spec: What to run.
        places: Where; each machine has a cache of its own, or all share one.
        processes: From `mpi_processes`.
        now: The time, for the run's name.
        observe: What else happens after each epoch, at rank 0.
        every: Seconds of training between two checkpoints, at least.

    Returns:
        At rank 0 the trained network and its directory, elsewhere None.

    Raises:
        DataProblem: A process has other data than rank 0.
        PipelineError: See the stages.
    """
    gradient = data_parallel(processes)
    if processes.rank == 0:
        prepared, _ = prepare(spec.dataset, source=places.source, cache=places.cache, raw=places.raw)
        processes.comm.bcast(_identity(prepared, spec))  # from here on the others find it prepared
        return train_run(spec, places, now=now, observe=observe, sealed=True, every=every, gradient=gradient)
    expected = processes.comm.bcast(None)
    prepared, _ = prepare(spec.dataset, source=places.source, cache=places.cache, raw=places.raw)
    if _identity(prepared, spec) != expected:
        raise DataProblem(
            f"rank {processes.rank} has other training rows than rank 0",
            where=str(prepared.train.path),
            remedy="give every machine the same source",
        )
    train_rows, _ = training_rows(prepared.train, spec)
    # Validation, the choice of an epoch and all writing are rank 0's; the steps are the same.
    fit(train_rows, None, attrs.evolve(spec, train=attrs.evolve(spec.train, keep="last")), gradient=gradient)
    return None


def _identity(prepared: Prepared, spec: RunSpec) -> tuple[str, str]:
    """Hashes of the rows that a training reads."""
    return prepared.train.sha256, data_hashes(prepared, spec.dataset).partitions

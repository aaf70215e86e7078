"""Work spread over processes by Dask."""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import dask
from distributed import Client, LocalCluster, Worker, WorkerPlugin, as_completed
from distributed.scheduler import KilledWorker

AHEAD = 3  # tasks for each worker that wait at the scheduler
DEATHS = 2  # of workers at one task that may be bad luck; one more is the task itself
PATIENCE = 120.0  # seconds without any process here, in which dead ones should have been replaced

NextTask = Callable[[], Sequence[Any] | None]


class LeavesCtrlC(WorkerPlugin):
    """Leaves Ctrl-C, which a terminal sends to all processes, to the one that started them."""

    def setup(self, worker: Worker) -> None:
        """Ignore it in a worker, as soon as there is one."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def workers(jobs: int | None, scheduler: str | None) -> Iterator[Client]:
    """Connect to a Dask scheduler, or start processes here, one thread each.

    Parameters
    ----------
    jobs
        Number of processes; by default one per core.
    scheduler
        Address of a running scheduler, such as ``tcp://host:8786``; nothing is started then.

    Raises
    ------
    OSError
        If the scheduler does not answer.
    """
    if scheduler is not None:
        with Client(scheduler) as client:
            yield client
        return
    settings = {
        "distributed.scheduler.allowed-failures": DEATHS,
        "distributed.worker.memory.terminate": False,
        # What watches the workers would take several percent of a core from them.
        "distributed.worker.profile.enabled": False,
        "distributed.admin.system-monitor.gil.enabled": False,
        "distributed.admin.tick.interval": "500ms",
    }
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=jobs,
            threads_per_worker=1,
            memory_limit=0,
            dashboard_address=":0",
            silence_logs="CRITICAL",
        ) as cluster,
        Client(cluster) as client,
    ):
        client.register_plugin(LeavesCtrlC())
        yield client


def work_through(
    client: Client, function: Callable[..., Any], next_task: NextTask
) -> Iterator[tuple[Sequence[Any], Any]]:
    """Yield tasks and their results as they come; the result is None if workers died at it.

    Parameters
    ----------
    client
        Of :func:`workers`.
    function
        Called in a worker with a task's elements.
    next_task
        Gives the next task, or None while there is none; asked again after every result.

    Raises
    ------
    ConnectionError
        If the scheduler gives up, or the processes here died and are not replaced.
    """
    running: dict[Any, Sequence[Any]] = {}
    finished = as_completed(with_results=True, raise_errors=False)

    def refill() -> None:
        while len(running) < AHEAD * max(1, len(client.ncores())):
            task = next_task()
            if task is None:
                return
            future = client.submit(function, *task, pure=False)
            running[future.key] = task
            finished.add(future)

    refill()
    while running:
        _wait(client, finished)
        future, result = next(finished)
        task = running.pop(future.key)
        if future.status == "error":
            if not isinstance(future.exception(), KilledWorker):
                future.result()  # raises
            result = None
        elif future.status == "cancelled":
            running[future.key] = task
            raise ConnectionError("the scheduler gave up the work; start again to go on")
        future.release()
        yield task, result
        refill()


def _wait(client: Client, finished: as_completed) -> None:
    """Wait for a result; Dask alone would wait for ever for processes that it cannot replace."""
    seen = time.monotonic()
    while True:
        with finished.thread_condition:
            if finished.has_ready() or finished.is_empty():
                return
            finished.thread_condition.wait(1.0)
        if client.cluster is None or client.ncores():
            seen = time.monotonic()
        elif time.monotonic() - seen > PATIENCE:
            raise ConnectionError(
                "all worker processes died and could not be replaced; start again to go on"
            )

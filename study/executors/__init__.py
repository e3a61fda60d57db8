"""Where trials are trained: in this process, in worker processes, on a cluster."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from study.executors.base import ClusterError, TrialExecutor
from study.executors.processes import worker_processes
from study.executors.threads import in_process


def open_executor(
    device: str,
    on_step: Callable[[float], None],
    workers: int = 0,
    scheduler: str = "none",
    tell: Callable[[str], None] = lambda line: None,
) -> AbstractContextManager[TrialExecutor]:
    """Open the place to train: this process, processes of this machine, or a cluster.

    Args:
        device: on which each worker trains.
        on_step: told of training done, in images shown.
        workers: processes to start; 0 for none.
        scheduler: address of a running Dask scheduler, or "none".
        tell: shows the user a line.

    Raises:
        ClusterError: no scheduler answers at the address.
    """
    if workers:
        return worker_processes(workers, on_step, device)
    if scheduler == "none":
        return in_process(device, on_step)
    from study.executors.dask_cluster import dask_cluster  # a second to import

    return dask_cluster(scheduler, on_step, tell)


__all__ = ["ClusterError", "TrialExecutor", "in_process", "open_executor"]

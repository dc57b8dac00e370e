"""Retraining's tasks on Ray: on this machine alone, or spread over a cluster.

What needs the log runs on this machine; fits run anywhere. Arrays lie in the object store once, tasks map them. A task
whose process or machine dies is run again, and results that were lost with a machine are made again from their own
tasks (Ray's lineage), so a node that is killed in the middle costs time and nothing else.
"""

from __future__ import annotations

import logging
import os
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, TypeVar

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from events.errors import DiskFull, EverfoldError, Unavailable
from training.retraining import Job

T = TypeVar("T")

RETRIES: Final = 5
"""Of one task. Each is a machine or process lost; a task that fails by itself is not tried again."""
STORE_BYTES: Final = 1 << 30
"""Object store of our own Ray: The Complete Journey needs 200 MB. Pages that nobody wrote cost nothing."""
_ALONE: Final = "local"


class RayCluster:
    """`training.retraining.Cluster` over Ray. Used by ``with``.

    ``address``: empty for a Ray of our own that ends with it, ``auto`` for the one of this machine, or ``host:port`` or
    ``ray://host:port`` of another. Through ``ray://`` this process is no part of the cluster, so what needs the log
    runs in it, one after another.
    """

    def __init__(self, address: str = "", cpus: int | None = None) -> None:
        self._address = address
        self._cpus = cpus
        self._scratch = ""
        self._here: NodeAffinitySchedulingStrategy | None = None

    def __enter__(self) -> RayCluster:
        """Raises `Unavailable` where no cluster answers at ``address`` or none can be started here, `DiskFull` where
        this process may not write what one needs."""
        common: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        try:
            if self._address:
                ray.init(address=self._address, **common)
            else:
                _check_limit()
                self._scratch = tempfile.mkdtemp(prefix="ef-", dir="/tmp")  # sockets need a short path
                ray.init(
                    address=_ALONE,
                    num_cpus=self._cpus or os.cpu_count(),
                    include_dashboard=False,
                    object_store_memory=STORE_BYTES,
                    _temp_dir=self._scratch,
                    **common,
                )
        except EverfoldError:
            raise
        except (Exception, SystemExit) as error:  # Ray raises bare ones, and exits at times
            self._forget()
            if self._address:
                raise Unavailable(f"no Ray cluster answers at {self._address}: {error}") from None
            raise Unavailable(
                f"Ray did not start on this machine ({error}): see that there is room in /tmp and /dev/shm, and "
                "that no limit (`ulimit -a`) is in its way"
            ) from None
        if not self._address.startswith("ray://"):
            node = ray.get_runtime_context().get_node_id()
            self._here = NodeAffinitySchedulingStrategy(node, soft=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ray.shutdown()
        self._forget()

    def put(self, value: T) -> Any:
        return ray.put(value)

    def start(
        self, name: str, function: Callable[..., T], *arguments: Any, here: bool = False, at_once: bool = False
    ) -> Job[T]:
        if here and self._here is None:
            values = [ray.get(each) if isinstance(each, ray.ObjectRef) else each for each in arguments]
            return Job(name, ray.put(function(*values)))
        options: dict[str, Any] = {"num_cpus": 0 if at_once else 1, "max_retries": RETRIES, "name": name}
        if here:
            options["scheduling_strategy"] = self._here
        return Job(name, _remote(function).options(**options).remote(*arguments))

    def later(self, jobs: Mapping[str, Job[T]]) -> Callable[[], Mapping[str, T]]:
        return Later({name: job.ref for name, job in jobs.items()})

    def done(self, jobs: Sequence[Job[Any]]) -> Iterator[Job[Any]]:
        waiting = {job.ref: job for job in jobs}
        while waiting:
            (ended, *_), _ = ray.wait(list(waiting), num_returns=1)
            job = waiting.pop(ended)
            self.result(job)
            yield job

    def result(self, job: Job[T]) -> T:
        try:
            value: T = ray.get(job.ref)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, EverfoldError | OSError):
                raise error.cause from None
            raise
        except ray.exceptions.RayError as error:
            raise Unavailable(f"task {job.name!r} was lost ({type(error).__name__}): run it again") from None
        return value

    def _forget(self) -> None:
        if self._scratch:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = ""


class Later:
    """References inside a task's argument, fetched when it is called: Ray resolves only those that are arguments
    themselves, before the task starts."""

    def __init__(self, refs: Mapping[str, Any]) -> None:
        self._refs = dict(refs)

    def __call__(self) -> Mapping[str, Any]:
        return dict(zip(self._refs, ray.get(list(self._refs.values())), strict=True))


def _check_limit() -> None:
    """Ray's store is one file; under a limit it dies and says nothing."""
    most, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if most != resource.RLIM_INFINITY and most < STORE_BYTES:
        raise DiskFull(f"a file may have {most:,} bytes here (`ulimit -f`), Ray needs one of {STORE_BYTES:,}: raise it")


def _remote(function: Callable[..., T]) -> Any:
    shell: Any = ray.remote
    return shell(function)

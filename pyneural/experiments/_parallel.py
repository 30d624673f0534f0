"""Several small trainings at once: one Python thread each, as their steps run in C++ without the interpreter's lock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, TypeVar

import pyneural as pn
from pyneural.experiments.frame import Run

T = TypeVar("T")
Stop = Callable[[pn.Trainer, int, Any], None]


def at_once(e: Run, jobs: Mapping[str, Callable[[Stop], T]], text: str) -> dict[str, T]:
    """Run the jobs, as many at a time as the run has threads, each on one thread of its own; results by name.

    A job is given a callback for `Trainer.fit` that ends its training when another job failed or Ctrl-C was pressed. It
    must draw its random numbers from generators of its own: the default one is shared by all. The first error of a job
    is raised once the others have stopped.
    """
    stopping = threading.Event()

    def stop(trainer: pn.Trainer, epoch: int, logs: Any) -> None:
        if stopping.is_set():
            trainer.stopping = True

    before = pn.get_num_threads()
    results: dict[str, T] = {}
    pn.set_num_threads(1)  # several kernels at a time, of one thread each, do not wait for one another
    try:
        with ThreadPoolExecutor(max(1, min(e.threads, len(jobs)))) as pool:
            futures = {pool.submit(job, stop): name for name, job in jobs.items()}
            try:
                for done in e.progress(as_completed(futures), text, total=len(futures)):
                    results[futures[done]] = done.result()
            except BaseException:
                stopping.set()
                for future in futures:
                    future.cancel()
                raise
    finally:
        pn.set_num_threads(before)
    return {name: results[name] for name in jobs}

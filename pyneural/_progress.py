"""The progress line of a training, drawn with rich; nothing is imported unless it is drawn."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Quiet:
    """Draws nothing."""

    def __enter__(self) -> Quiet:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def epoch(self, number: int) -> None:
        """A new epoch begins; the first is number 0."""

    def batch(self, loss: float) -> None:
        """A batch is done; ``loss`` is its loss."""

    def done(self, logs: dict[str, float]) -> None:
        """The epoch is done."""


class Bar(Quiet):
    """One line: the epoch, how far it is, the loss so far and what the last epoch ended with."""

    def __init__(self, epochs: int, batches: int, done: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._epochs = epochs
        self._last = ""
        self._progress: Any = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[text]}", markup=False),
            TimeRemainingColumn(),
            console=Console(file=sys.stderr),
        )
        self._task = self._progress.add_task("training", total=epochs * batches, completed=done, text="")

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    def epoch(self, number: int) -> None:
        self._progress.update(self._task, description=f"epoch {number + 1}/{self._epochs}")

    def batch(self, loss: float) -> None:
        self._progress.update(self._task, advance=1, text=f"loss {loss:.4g}{self._last}")

    def done(self, logs: dict[str, float]) -> None:
        shown = "  ".join(f"{name} {value:.4g}" for name, value in logs.items())
        self._last = f"  (last epoch: {shown})"
        self._progress.update(self._task, text=shown)


def progress(wanted: bool | None, epochs: int, batches: int, done: int = 0) -> Quiet:
    """A bar if it is wanted, with so many batches done already; None means: if stderr is a terminal."""
    draw = sys.stderr.isatty() if wanted is None else wanted
    return Bar(epochs, batches, done) if draw else Quiet()


@contextmanager
def counted(wanted: bool | None, text: str, total: int) -> Iterator[Callable[[str], None]]:
    """A bar that counts to total if it is wanted (None: if stderr is a terminal); yields what adds one, with a word."""
    if not (sys.stderr.isatty() if wanted is None else wanted):
        yield lambda word: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=24), MofNCompleteColumn(),
               TextColumn("{task.fields[word]}", markup=False), TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=Console(file=sys.stderr)) as bar:
        task = bar.add_task(text, total=total, word="")
        yield lambda word: bar.update(task, advance=1, word=word)

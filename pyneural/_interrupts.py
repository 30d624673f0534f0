"""Signals that end a training between two steps, with the model whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def soft_interrupt(terminate: bool = False) -> Iterator[list[int]]:
    """Ctrl-C fills the list that is yielded, a second one raises KeyboardInterrupt.

    With ``terminate`` SIGTERM fills it as well, and ends the process when the block is left; a second one at once. Only
    in the main thread, which gets signals, and only for signals that nobody else handles.
    """
    received: list[int] = []
    usual = {signal.SIGINT: signal.default_int_handler} | ({signal.SIGTERM: signal.SIG_DFL} if terminate else {})
    if threading.current_thread() is threading.main_thread():
        ours = [number for number, handler in usual.items() if signal.getsignal(number) is handler]
    else:
        ours = []

    def handle(number: int, frame: Any) -> None:
        if number in received:
            signal.signal(number, usual[signal.Signals(number)])
            signal.raise_signal(number)
        received.append(number)

    for number in ours:
        signal.signal(number, handle)
    try:
        yield received
    finally:
        for number in ours:
            signal.signal(number, usual[number])
        if signal.SIGTERM in received:
            signal.raise_signal(signal.SIGTERM)

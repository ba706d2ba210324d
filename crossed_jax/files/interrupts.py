"""What must not be left half done waits with Ctrl-C until it is done."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Hold Ctrl-C back in this block, and tell whether it was pressed."""
    pressed: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        pressed.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # only the main thread is ever interrupted
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)

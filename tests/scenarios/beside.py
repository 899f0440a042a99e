"""Work beside a block, in threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def beside(work: Callable[[threading.Event], None], threads: int = 1) -> Iterator[None]:
    """Work while the block runs, and wait for the end of that.

    Args:
        work: does it until the event is set, which is given to it.
        threads: so many do the same at once.
    """
    ended = threading.Event()
    working = [threading.Thread(target=work, args=(ended,), daemon=True) for _ in range(threads)]
    for each in working:
        each.start()
    try:
        yield
    finally:
        ended.set()
        for each in working:
            each.join()

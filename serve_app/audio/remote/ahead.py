"""A recording that is fetched while others are decoded."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Executor
from io import FileIO


class Ahead:
    """A file that is being opened in another thread. Closed if nobody takes it.

    Args:
        threads: where it is opened.
        open_file: returns a descriptor.
    """

    def __init__(self, threads: Executor, open_file: Callable[[], int]) -> None:
        # an object that closes the descriptor when it is collected
        self._file = threads.submit(lambda: FileIO(open_file()))

    def take(self) -> int:
        """Wait for the file; its descriptor, which the caller closes.

        Raises:
            AudioError, OSError: as of opening it.
        """
        with self._file.result() as file:
            return os.dup(file.fileno())

"""What the programs here share: the arguments, and a line for each case."""

import sys
from collections.abc import Callable

url, key, file, text = sys.argv[1:5]
PROMPT = "The next words are about Ada Lovelace and her engine, as before."


def say(name: str, check: Callable[[], object]) -> None:
    """Print whether `check` is true."""
    try:
        print(f"ok {name}" if check() else f"failed {name}: not as expected")
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"failed {name}: {reason}")


def refused(run: Callable[[], object], kind: type[Exception], status: int) -> bool:
    """Whether `run` raises an error of this kind and status."""
    try:
        run()
    except kind as error:
        return getattr(error, "status_code", None) == status
    return False

"""The error of an engine that cannot be loaded or does not work."""

from __future__ import annotations

import pickle
import re

from serve_app.system.logs import PACKAGES

#: What torch says of a pickle that refers to code.
_REFUSED_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")


class EngineError(Exception):
    """An engine cannot be loaded, or is broken as a whole.

    The message names the file, the settings key or the class at fault, and what to do. A fault of
    a single clip is never an `EngineError`, but its `serve_app.engines.base.Rejection`. It is one
    line, whatever it quotes: Ray and logs show the last line of a traceback.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


def cause_of(error: BaseException) -> str:
    """The type and the whole message of an error, for the message of another; ours have no type.

    Of a pickle that torch refuses only the reason is told: torch's own message advises to load the
    file without the check, which would run its code.
    """
    name, text = type(error).__name__, str(error).strip()
    if isinstance(error, pickle.UnpicklingError) and "weights_only" in text:
        found = _REFUSED_GLOBAL.search(text)
        what = f" ({found[1]})" if found else ""
        text = f"the file holds something other than tensors{what}; do not load it"
    if text and type(error).__module__.partition(".")[0] in PACKAGES:  # its message says all
        return text
    return f"{name}: {text}" if text else name


def shown(value: object) -> str:
    """Format an untrusted value for an error message: quoted, and shortened if it is long."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:90]}..."

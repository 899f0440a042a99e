"""What was tried lately, in memory: nothing of it is written anywhere."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass

from workers.console.trial.asking import Answer

#: Tries that are kept, and bytes of their audio.
_MOST, _MOST_BYTES = 50, 128 << 20


@dataclass
class Trial:
    """One try.

    Attributes:
        name: of the file, as the browser gave it, or of the recording.
        wav: its audio.
        answers: of one or two models or plans.
        made: Unix time in seconds.
        blind: whether nobody may see whose answers they are before there is a vote.
    """

    name: str
    wav: bytes
    answers: tuple[Answer, ...]
    made: float
    blind: bool = False


class Trials:
    """The tries of this process. Belongs to one event loop."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Trial] = OrderedDict()

    def keep(self, trial: Trial) -> str:
        """Keep a try, in place of the oldest ones; returns its name, which nobody can guess."""
        name = secrets.token_urlsafe(12)
        self._kept[name] = trial
        while len(self._kept) > _MOST or (len(self._kept) > 1 and self._bytes > _MOST_BYTES):
            self._kept.popitem(last=False)
        return name

    def get(self, name: str) -> Trial | None:
        """A try; None if there is none of that name, or no more."""
        return self._kept.get(name)

    @property
    def _bytes(self) -> int:
        return sum(len(each.wav) for each in self._kept.values())

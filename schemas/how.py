"""What a caller of the Router may ask for, beside what the settings say."""

from __future__ import annotations

import msgspec


class How(msgspec.Struct, frozen=True, kw_only=True):
    """How the records of a call are transcribed.

    Attributes:
        target: name of the plan or model; None lets the rules choose.
        words: whether transcripts carry words with times, whatever the models' settings say.
        interactive: whether somebody waits for the answer: it goes ahead of the bulk.
    """

    target: str | None = None
    words: bool = False
    interactive: bool = False


#: As the settings say.
AS_ROUTED = How()

"""Requests for clips, as tests make them."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.requests import ClipRequest
from serve_app.audio.clip import Clip


def alike(
    clips: Sequence[Clip], *, words: bool = False, interactive: bool = False
) -> list[ClipRequest]:
    """One request for each of `clips`, all the same."""
    return [ClipRequest(words=words, interactive=interactive)] * len(clips)

"""Who says what in a recording whose channels are transcribed one by one: a speaker on each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from schemas.transcript import Word
from schemas.transcription_api import ApiChannel
from serve_app.audio.clip import CHANNELS, SIMILARITY
from serve_app.http.upload import UploadPart, join_texts
from serve_app.router.turns import Turn, in_turns, text_of


def speaker(channel: int) -> str:
    """What the speaker of a channel is called."""
    return f"Speaker {channel + 1}"


def by_channel(pieces: Iterable[UploadPart]) -> dict[int | None, list[UploadPart]]:
    """The pieces of each channel, in order; under None where the whole is one clip."""
    found: dict[int | None, list[UploadPart]] = {}
    for piece in pieces:
        found.setdefault(piece.channel, []).append(piece)
    return found


def whole_text(pieces: Sequence[UploadPart]) -> str:
    """What is said: in order, turn by turn where several channels are transcribed."""
    turns = _turns(pieces)
    return text_of(turns) if turns is not None else join_texts(pieces)


def words_of_text(pieces: Sequence[UploadPart]) -> list[Word]:
    """The words in the order of `whole_text`."""
    turns = _turns(pieces)
    if turns is None:
        return [word for piece in pieces for word in piece.words or ()]
    return [word for turn in turns for word in turn.words]


def _turns(pieces: Sequence[UploadPart]) -> list[Turn] | None:
    """The turns on several channels; None where the whole is one clip."""
    channels = {
        channel: [word for piece in some for word in timed_words(piece)]
        for channel, some in by_channel(pieces).items()
        if channel is not None
    }
    return in_turns(channels) if channels else None


def timed_words(piece: UploadPart) -> Sequence[Word]:
    """The words of a piece; all of it as one where there are no times."""
    if piece.words is not None:
        return piece.words
    whole = Word(piece.text, piece.start, piece.end, piece.transcript.confidence)
    return [whole] if piece.text else []


def channels_of(pieces: Sequence[UploadPart]) -> list[ApiChannel] | None:
    """The channels one by one; None where the whole is one clip."""
    return [
        ApiChannel(
            channel=channel,
            speaker=speaker(channel),
            text=join_texts(some),
            equal=_equal(some[0]),
        )
        for channel, some in by_channel(pieces).items()
        if channel is not None
    ] or None


def _equal(piece: UploadPart) -> list[int] | None:
    """The channels that hold the same as the first one, which alone is transcribed."""
    measures = piece.transcript.audio_measures
    if measures.get(SIMILARITY.removeprefix("audio.")) not in (1.0, -1.0):
        return None
    return list(range(1, int(measures[CHANNELS.removeprefix("audio.")])))

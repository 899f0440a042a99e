"""Words as segments and subtitles."""

from __future__ import annotations

import math
import textwrap
import zlib
from collections.abc import Iterable, Iterator, Sequence

from schemas.transcript import Word
from schemas.transcription_api import Segment

#: A pause of so many seconds ends a segment.
PAUSE_S = 0.8
#: Longest segment in seconds, and what subtitles have at most: two lines of 42 characters (BBC and
#: Netflix guidelines).
LONGEST_S = 7.0
MOST_LINES, LINE_CHARS = 2, 42
#: Confidences are not taken for lower than this.
_LEAST = 1e-4


def make_segments(words: Sequence[Word]) -> list[Segment]:
    """Group `words`, in order, by pauses and by what fits a subtitle."""
    return [_segment(number, group) for number, group in enumerate(_groups(words))]


def log_confidence(word: Word) -> float | None:
    """Natural logarithm of the confidence in `word`; None where there is none."""
    return None if word.confidence is None else round(math.log(max(word.confidence, _LEAST)), 4)


def srt(segments: Iterable[Segment]) -> str:
    """SubRip subtitles."""
    parts = [
        f"{number}\n{_time(each.start, ',')} --> {_time(each.end, ',')}\n{_lines(each.text)}\n"
        for number, each in enumerate(segments, 1)
    ]
    return "\n".join(parts)


def vtt(segments: Iterable[Segment]) -> str:
    """WebVTT subtitles."""
    parts = [
        f"{_time(each.start, '.')} --> {_time(each.end, '.')}\n{_escaped(_lines(each.text))}\n"
        for each in segments
    ]
    return "\n".join(["WEBVTT\n", *parts])


def _groups(words: Sequence[Word]) -> Iterator[list[Word]]:
    group: list[Word] = []
    for word in words:
        if group and (
            word.start - group[-1].end >= PAUSE_S
            or word.end - group[0].start > LONGEST_S
            or len(_wrapped(_text([*group, word]))) > MOST_LINES
        ):
            yield group
            group = []
        group.append(word)
    if group:
        yield group


def _segment(number: int, words: Sequence[Word]) -> Segment:
    text = _text(words)
    sure = [each for each in map(log_confidence, words) if each is not None]
    data = text.encode()
    return Segment(
        id=number,
        seek=round(words[0].start * 100),
        start=words[0].start,
        end=words[-1].end,
        text=text,
        avg_logprob=round(sum(sure) / len(sure), 4) if sure else None,
        compression_ratio=round(len(data) / len(zlib.compress(data)), 3),
    )


def _time(seconds: float, point: str) -> str:
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours:02}:{minute:02}:{second:02}{point}{thousandths:03}"


def _text(words: Iterable[Word]) -> str:
    return " ".join(word.word for word in words)


def _lines(text: str) -> str:
    return "\n".join(_wrapped(text)) or text


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, LINE_CHARS, break_long_words=False)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

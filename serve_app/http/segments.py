"""Group words into segments, and write segments as subtitles."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from msgspec import UNSET
from msgspec.structs import replace

from schemas.transcript import Word
from schemas.transcription_api import Segment
from schemas.transcription_request import SubtitleShape
from serve_app.engines.repetition import compression_ratio
from serve_app.router.turns import utterances

#: Longest segment in seconds.
MAX_SEGMENT_S = 7.0
#: Lower confidences are raised to this value, so that their logarithms are finite.
_MIN_CONFIDENCE = 1e-4
_DEFAULT = SubtitleShape()
#: A pause that is hardly within an utterance, in seconds.
_CLEAR_PAUSE_S = 0.6
#: The quality of the best places to cut, and of those that are good at all. A segment costs 1 to 2.
_BEST, _GOOD = 2.5, 0.5
#: What ends a sentence, and a clause.
_SENTENCE_END, _CLAUSE_END = (".", "!", "?", "…", "。", "！", "？"), (",", ";", ":", "、", "，")


def make_segments(words: Sequence[Word], shape: SubtitleShape = _DEFAULT) -> list[Segment]:
    """Group `words`, in order, so that each segment fits a subtitle.

    A pause of `PAUSE_S` seconds always ends a segment. Where more is said without one, of all ways
    to cut it the best is taken: at shorter pauses and ends of sentences, into few segments, none of
    them too short to be read.

    Args:
        words: with times.
        shape: how much a segment holds. A word that is longer is a segment by itself.
    """
    groups = [group for said in utterances(words) for group in _cut(said, shape)]
    return [_segment(number, group) for number, group in enumerate(groups)]


def log_confidence(word: Word) -> float | None:
    """Natural logarithm of the confidence in `word`; None where there is none."""
    if word.confidence is None:
        return None
    return round(math.log(max(word.confidence, _MIN_CONFIDENCE)), 4)


def shown(segments: Sequence[Segment], shape: SubtitleShape, seconds: float) -> list[Segment]:
    """`segments` with their ends moved so that each is shown long enough.

    Args:
        segments: in order.
        shape: has the shortest time.
        seconds: length of the file; no subtitle ends later, nor after the start of the next.
    """
    limits = [*(each.start for each in segments), seconds][1:]
    return [
        replace(each, end=max(each.end, round(min(each.start + shape.shortest_s, limit), 3)))
        for each, limit in zip(segments, limits, strict=True)
    ]


def srt(segments: Iterable[Segment], shape: SubtitleShape = _DEFAULT) -> str:
    """Write segments as SubRip subtitles, with the lines of `shape`; speakers before words."""
    parts = [
        f"{number}\n{_time(each.start, ',')} --> {_time(each.end, ',')}\n"
        f"{_lines(_labelled(each), shape)}\n"
        for number, each in enumerate(segments, 1)
    ]
    return "\n".join(parts)


def vtt(segments: Iterable[Segment], shape: SubtitleShape = _DEFAULT) -> str:
    """Write segments as WebVTT subtitles, with the lines of `shape`; speakers as voices."""
    parts = [
        f"{_time(each.start, '.')} --> {_time(each.end, '.')}\n"
        f"{_voice(each)}{_escaped(_lines(each.text, shape))}\n"
        for each in segments
    ]
    return "\n".join(["WEBVTT\n", *parts])


def _cut(words: Sequence[Word], shape: SubtitleShape) -> list[Sequence[Word]]:
    """The cheapest way to cut an utterance into segments: Knuth and Plass (1981), for subtitles."""
    costs = [0.0] + [math.inf] * len(words)  # of the words before each place
    starts = [0] * (len(words) + 1)  # of the segment that ends at each place
    for first in range(len(words)):
        inside = 0.0
        for end, size in _fitting(words, first, shape):
            seconds = words[end - 1].end - words[first].start
            cost = costs[first] + inside + _cost(size, seconds, shape)
            if end < len(words):
                quality = _quality(words[end - 1], words[end])
                cost += max(0.0, 1.0 - quality)
                inside += quality if quality >= _GOOD else 0.0
            if cost < costs[end]:
                costs[end], starts[end] = cost, first
    groups = []
    end = len(words)
    while end:
        groups.append(words[starts[end] : end])
        end = starts[end]
    return groups[::-1]


def _fitting(words: Sequence[Word], first: int, shape: SubtitleShape) -> Iterator[tuple[int, int]]:
    """Where a segment from `first` on may end, and its characters; the first word always fits."""
    lines, width, size = 1, 0, 0
    for place in range(first, len(words)):
        length = len(words[place].word)
        size += length + 1
        if width and width + 1 + length > shape.line_width:
            lines, width = lines + 1, length
        else:
            width += length + bool(width)
        too_long = words[place].end - words[first].start > MAX_SEGMENT_S
        if place > first and (too_long or lines > shape.line_count):
            return
        yield place + 1, size


def _cost(size: int, seconds: float, shape: SubtitleShape) -> float:
    """Of a segment: one for itself, more if it is nearly empty or too short to be read."""
    free = max(0.0, 1 - size / (shape.line_width * shape.line_count))
    short = max(0.0, 1 - seconds / shape.shortest_s) if shape.shortest_s else 0.0
    return 1.0 + free**2 / 2 + 2 * short


def _quality(word: Word, following: Word) -> float:
    """How good a place to cut is between two words: what it costs not to cut there."""
    if word.word.endswith(_SENTENCE_END):
        return _BEST
    pause = max(following.start - word.end, 0.0)
    clause = _GOOD if word.word.endswith(_CLAUSE_END) else 0.0
    return max(clause, _BEST * min(pause / _CLEAR_PAUSE_S, 1.0) ** 2)


def _segment(number: int, words: Sequence[Word]) -> Segment:
    text = _text(words)
    sure = [each for each in map(log_confidence, words) if each is not None]
    return Segment(
        id=number,
        seek=round(words[0].start * 100),
        start=words[0].start,
        end=words[-1].end,
        text=text,
        avg_logprob=round(sum(sure) / len(sure), 4) if sure else 0.0,
        compression_ratio=round(compression_ratio(text), 3),
    )


def _time(seconds: float, point: str) -> str:
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours:02}:{minute:02}:{second:02}{point}{thousandths:03}"


def _text(words: Iterable[Word]) -> str:
    return " ".join(word.word for word in words)


def _labelled(segment: Segment) -> str:
    return segment.text if segment.speaker is UNSET else f"{segment.speaker}: {segment.text}"


def _voice(segment: Segment) -> str:
    return "" if segment.speaker is UNSET else f"<v {_escaped(segment.speaker)}>"


def _lines(text: str, shape: SubtitleShape) -> str:
    lines = textwrap.wrap(text, shape.line_width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines) or text


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

"""Segments and subtitles; FFmpeg's own readers say whether the subtitles are right."""

from __future__ import annotations

import html
import io
import math

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.transcript import Word
from schemas.transcription_api import Segment
from schemas.transcription_request import SubtitleShape
from serve_app.http.segments import (
    MAX_SEGMENT_S,
    log_confidence,
    make_segments,
    shown,
    srt,
    vtt,
)
from serve_app.router.turns import PAUSE_S
from tests.serve_app.http.conftest import UNHURRIED

TEXTS = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=50)


@st.composite
def spoken(draw: st.DrawFn) -> list[Word]:
    """Words one after the other, in whole milliseconds."""
    words, now = [], 0
    for text in draw(st.lists(TEXTS, max_size=40)):
        start = now + draw(st.integers(0, 1_500))
        now = start + draw(st.integers(1, 9_000))
        words.append(Word(text, start / 1000, now / 1000, draw(st.none() | st.floats(0, 1))))
    return words


def said(*words: str, each_s: float = 0.3) -> list[Word]:
    """Words without a pause."""
    return [Word(w, round(n * each_s, 3), round((n + 1) * each_s, 3)) for n, w in enumerate(words)]


def read(subtitles: str, kind: str) -> list[tuple[int, int, str]]:
    """Start and end in milliseconds, and text, as FFmpeg reads them."""
    with av.open(io.BytesIO(subtitles.encode()), format=kind) as file:
        return [
            (packet.pts, packet.pts + packet.duration, bytes(packet).decode())
            for packet in file.demux(file.streams[0])
            if packet.pts is not None
        ]


def milliseconds(segments: list[Segment]) -> list[tuple[int, int]]:
    return [(round(each.start * 1000), round(each.end * 1000)) for each in segments]


@UNHURRIED
@given(spoken())
def test_every_word_is_in_one_segment_in_order(words: list[Word]) -> None:
    segments = make_segments(words)
    assert " ".join(each.text for each in segments) == " ".join(each.word for each in words)
    assert [each.id for each in segments] == list(range(len(segments)))
    assert {each.start for each in segments} <= {each.start for each in words}
    assert {each.end for each in segments} <= {each.end for each in words}


@UNHURRIED
@given(spoken())
def test_a_segment_of_several_words_is_short(words: list[Word]) -> None:
    lengths = [each.end - each.start for each in make_segments(words) if " " in each.text]
    assert max(lengths, default=0) <= MAX_SEGMENT_S + 1e-9


@UNHURRIED
@given(
    st.lists(st.integers(1, 60).map(lambda n: "x" * n), min_size=1, max_size=20),
    st.integers(10, 60),
    st.integers(1, 3),
)
def test_a_segment_of_several_words_has_as_many_lines_as_asked_for(
    words: list[str], width: int, count: int
) -> None:
    shape = SubtitleShape(line_width=width, line_count=count)
    for each in make_segments(said(*words, each_s=0.1), shape):
        lines = srt([each], shape).splitlines()[2:]
        assert len(lines) <= count
        assert max(map(len, lines)) <= max(width, *map(len, each.text.split()))


@UNHURRIED
@given(spoken())
def test_ffmpeg_reads_the_subtitles_as_they_were_meant(words: list[Word]) -> None:
    segments = make_segments(words)
    as_srt, as_vtt = read(srt(segments), "srt"), read(vtt(segments), "webvtt")
    times = milliseconds(segments)
    assert [(start, end) for start, end, _ in as_srt] == times
    assert [(start, end) for start, end, _ in as_vtt] == times
    texts = [each.text.split() for each in segments]
    assert [text.split() for *_, text in as_srt] == texts
    assert [html.unescape(text).split() for *_, text in as_vtt] == texts


def test_nothing_said_makes_no_subtitles() -> None:
    assert make_segments([]) == []
    assert srt([]) == ""
    assert read(vtt([]), "webvtt") == []


@pytest.mark.parametrize(("pause", "count"), [(PAUSE_S, 2), (0.3, 1)])
def test_a_pause_ends_a_segment(pause: float, count: int) -> None:
    words = [Word("one", 0.0, 1.0), Word("two", 1.0 + pause, 2.0 + pause)]
    assert len(make_segments(words)) == count


def test_a_long_sentence_is_cut_between_words() -> None:
    [first, second] = make_segments(said(*["word"] * 10, each_s=1.0))
    assert (first.start, first.end) == (0.0, 5.0)
    assert (second.start, second.end, second.seek) == (5.0, 10.0, 500)


def spoken_at(*words: tuple[str, float, float]) -> list[Word]:
    return [Word(*each) for each in words]


def test_the_last_word_of_a_long_sentence_does_not_stand_alone() -> None:
    for count in range(2, 40):
        segments = make_segments(said(*["word"] * count, each_s=0.4))
        assert min(len(each.text.split()) for each in segments) >= min(count, 6), count


def test_a_cut_is_made_where_the_speaker_pauses() -> None:
    """0.5 s between the utterances, and both would fit one segment."""
    first = said("how", "are", "you", "doing", "today")
    second = [
        Word(each.word, each.start + 2.0, each.end + 2.0)
        for each in said("I", "am", "doing", "very", "well")
    ]
    texts = [each.text for each in make_segments([*first, *second])]
    assert texts == ["how are you doing today", "I am doing very well"]


def test_a_cut_is_made_where_a_sentence_ends() -> None:
    words = "That was all we had to say about it. Now we turn to something else, which is new."
    texts = [each.text for each in make_segments(said(*words.split()))]
    assert texts[0] == "That was all we had to say about it."


@UNHURRIED
@given(spoken(), st.floats(0, 7))
def test_a_subtitle_is_shown_long_enough_where_there_is_room(
    words: list[Word], shortest: float
) -> None:
    segments = make_segments(words)
    seconds = words[-1].end + 0.5 if words else 0.0
    shape = SubtitleShape(shortest_s=shortest)
    found = shown(segments, shape, seconds)
    limits = [*(each.start for each in segments), seconds][1:]
    for before, after, limit in zip(segments, found, limits, strict=True):
        assert (after.start, after.text) == (before.start, before.text)
        assert before.end <= after.end <= max(before.end, limit) + 1e-9
        assert after.end - after.start >= min(shortest, limit - after.start) - 0.001


def test_an_hour_without_a_pause_is_cut_quickly() -> None:
    """In time that grows with its length: ten thousand words, forty at most in a segment."""
    assert len(make_segments(said(*["word"] * 10_000))) > 400


def test_a_word_longer_than_a_segment_is_one_of_its_own() -> None:
    words = [Word("a", 0.0, 1.0), Word("b", 1.0, 10.0), Word("c", 10.0, 11.0)]
    assert [each.text for each in make_segments(words)] == ["a", "b", "c"]


def test_lines_of_a_subtitle_are_short() -> None:
    [segment] = make_segments(said(*["abcdefghi"] * 8, each_s=0.5))
    _, _, first, second = srt([segment]).splitlines()
    assert first == " ".join(["abcdefghi"] * 4)
    assert second == first


def test_times_are_written_as_each_format_has_them() -> None:
    segments = make_segments([Word("late", 3661.0, 3662.5)])
    assert "01:01:01,000 --> 01:01:02,500" in srt(segments)
    assert "01:01:01.000 --> 01:01:02.500" in vtt(segments)


def test_webvtt_has_no_markup_of_the_speaker() -> None:
    assert "&lt;i&gt; &amp; --&gt;" in vtt(make_segments(said("<i>", "&", "-->")))


def test_measures_of_a_segment() -> None:
    words = [Word("a", 0.5, 1.0, 0.5), Word("a", 1.0, 1.5, 0.25), Word("a", 1.5, 2.0)]
    [segment] = make_segments(words)
    assert segment.avg_logprob == pytest.approx((math.log(0.5) + math.log(0.25)) / 2, abs=1e-4)
    assert (segment.seek, segment.temperature, segment.tokens) == (50, 0.0, [])
    [repeated] = make_segments(said(*["again"] * 12, each_s=0.1))
    assert repeated.compression_ratio > 2 > segment.compression_ratio


def test_no_confidence_has_no_logarithm_and_none_at_all_a_finite_one() -> None:
    assert log_confidence(Word("a", 0, 1)) is None
    assert make_segments(said("a"))[0].avg_logprob == 0.0, "a client may have no place for none"
    assert log_confidence(Word("a", 0, 1, 1.0)) == 0.0
    assert log_confidence(Word("a", 0, 1, 0.0)) == pytest.approx(math.log(1e-4), abs=1e-4)

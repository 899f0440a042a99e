"""Checks of what an engine makes of unusual clips and requests."""

from __future__ import annotations

import numpy as np

from schemas.manifest import MAX_PHRASE_CHARS, MAX_PHRASES
from schemas.requests import DEFAULT_REQUEST, ClipRequest
from serve_app.engines.available import can_identify
from serve_app.engines.base import Hypothesis, Rejection
from serve_app.engines.calling import call_isolated
from serve_app.engines.conformance.subject import (
    WITH_WORDS,
    Subject,
    Verdict,
    hypotheses,
    texts_of,
    time_fault,
)
from serve_app.engines.errors import EngineError, cause_of
from serve_app.engines.identifying import identified
from serve_app.engines.results import checked_results

#: Seconds of each sound in which nobody speaks; level of the faint one: -60 dB.
_QUIET_S, _FAINT = 3.0, 1e-3
#: Seconds of a long clip, of its end that is silent once, and between what is said.
_LONG_S, _ENDING_S, _PAUSE_S = 40.0, 8.0, 0.3
_LANGUAGES = ("de", "tlh", "x-nobody", "")
#: As many as a record may have, one of them as long as one may be.
_PHRASES = (
    "Dublin",
    "naïve 東京 ☎",
    "x" * MAX_PHRASE_CHARS,
    *(f"phrase number {each}" for each in range(MAX_PHRASES - 3)),
)


def silence(subject: Subject) -> Verdict:
    """Digital silence, and the faint noise of a quiet room."""
    rng = np.random.default_rng(0)
    faint = rng.normal(0, _FAINT, int(_QUIET_S * subject.rate)).astype(np.float32)
    heard = subject.ask([subject.zeros(_QUIET_S), faint])
    if refused := [each.message for each in heard if isinstance(each, Rejection)]:
        return Verdict(
            "warning",
            f"it rejects silence: {refused[0]}",
            "give a Hypothesis with an empty text: a Rejection makes the record a dead letter",
        )
    count = sum(len(text.split()) for text in texts_of(heard))
    if count:
        return Verdict(
            "warning",
            f"it hears {count} words where nobody speaks",
            "set `routing.max_no_speech_prob`, which takes out such words by their times",
        )
    return Verdict("ok", "no words in silence and in faint noise")


def short(subject: Subject) -> Verdict:
    """No sample at all, a single one, and ten milliseconds."""
    for size in (1, subject.rate // 100):
        [heard] = subject.ask([subject.clips[0][:size]])
        if isinstance(heard, Hypothesis) and len(heard.text.split()) > 1:
            return Verdict(
                "warning",
                f"it hears {len(heard.text.split())} words in a clip of {size} samples",
                "pad short clips with silence, and leave out what is heard in the padding",
            )
    try:
        [heard] = subject.ask([subject.zeros(0)])
    except EngineError:
        raise
    except Exception as error:
        return Verdict(
            "warning",
            f"over a clip without samples it raises {cause_of(error)}",
            "give a Rejection with `AUDIO_EMPTY`; audio that is empty is refused before, so that "
            "such a clip is rare",
        )
    if isinstance(heard, Hypothesis) and heard.text.strip():
        return Verdict(
            "wrong", "it hears words in a clip without samples", "see what it transcribes"
        )
    return Verdict("ok", "clips of 0 samples, of one, and of 10 ms")


def long(subject: Subject) -> Verdict:
    """A clip of 40 seconds, with and without speech at its end."""
    pause = subject.zeros(_PAUSE_S)
    round_once = np.concatenate([part for clip in subject.clips for part in (clip, pause)])
    size = int(_LONG_S * subject.rate)
    speech = np.tile(round_once, size // len(round_once) + 1)[:size]
    cut = speech.copy()
    cut[-int(_ENDING_S * subject.rate) :] = 0
    advice = (
        "clips come whole, up to `audio.max_seconds`: cut them by `split_at_silences` and "
        "`join_hypotheses` of serve_app.engines.splitting"
    )
    found = [subject.ask([clip], [WITH_WORDS])[0] for clip in (speech, cut)]
    if refused := [each.message for each in found if isinstance(each, Rejection)]:
        return Verdict("warning", f"it rejects {_LONG_S:g} s: {refused[0]}", advice)
    heard, less = hypotheses(found)
    if fault := time_fault(heard.words or [], _LONG_S):
        return Verdict("wrong", fault, "move the times of each piece to its place in the clip")
    if any(texts_of(subject.alone)) and heard.text == less.text:
        return Verdict(
            "wrong", f"what is said in the last {_ENDING_S:g} of {_LONG_S:g} s is not heard", advice
        )
    return Verdict("ok", f"{_LONG_S:g} s, {len(heard.text.split())} words, to the end")


def language(subject: Subject) -> Verdict:
    """Languages that it may not know."""
    requests = [ClipRequest(language=each) for each in _LANGUAGES]
    clips = [subject.clips[place % len(subject.clips)] for place in range(len(requests))]
    heard = subject.ask(clips, requests)
    if refused := [each.message for each in heard if isinstance(each, Rejection)]:
        return Verdict(
            "warning",
            f"it rejects speech whose language it does not know: {refused[0]}",
            "`language` is a hint of the record: take the model's own where it does not fit",
        )
    return Verdict("ok", "languages that it may not know are no error")


def identification(subject: Subject) -> Verdict:
    """The languages of clips, alone and together, if it identifies them."""
    if not can_identify(subject.engine):
        return Verdict("ok", "it has no `identify_languages`, which is optional")
    try:
        together = identified(subject.engine, [clip.copy() for clip in subject.clips])
    except EngineError as error:
        return Verdict("ok", f"it identifies none: {error}")
    alone = [identified(subject.engine, [clip.copy()])[0] for clip in subject.clips]
    codes = [None if each is None else each.code for each in together]
    if codes != [None if each is None else each.code for each in alone]:
        return Verdict(
            "wrong",
            "`identify_languages` names other languages in a batch than alone",
            "give them in the order of the clips; what is beside a clip must not change them",
        )
    named = ", ".join(sorted({code or "none" for code in codes}))
    return Verdict("ok", f"it identifies languages, here {named}")


def phrases(subject: Subject) -> Verdict:
    """Phrases for one clip of a batch, and none for the others."""
    requests = [ClipRequest(phrases=_PHRASES), *[DEFAULT_REQUEST] * (len(subject.clips) - 1)]
    heard = subject.ask(subject.clips, requests)
    counts = [each.phrases if isinstance(each, Hypothesis) else None for each in heard]
    if any(each is not None for each in counts[1:]):
        return Verdict(
            "wrong",
            "`phrases` is a number for a clip that has none of its own",
            "leave `phrases` None there: each clip has its own request",
        )
    used = counts[0]
    if used is None:
        return Verdict("ok", "phrases of a record are ignored")
    if not 0 <= used <= len(_PHRASES):
        return Verdict(
            "wrong",
            f"`phrases` is {used} for a clip with {len(_PHRASES)} phrases",
            "it is the number of the clip's own phrases that were used",
        )
    return Verdict("ok", f"{used} of {len(_PHRASES)} phrases of a record are used")


def read_only(subject: Subject) -> Verdict:
    """Clips as they come from shared memory, and clips that could be changed."""
    own = [clip.copy() for clip in subject.clips]
    requests = [DEFAULT_REQUEST] * len(own)
    checked_results(subject.engine.transcribe(own, requests), len(own))
    if any(not np.array_equal(*pair) for pair in zip(own, subject.clips, strict=True)):
        return Verdict(
            "wrong",
            "it changes the samples of its clips",
            "work on a copy (`np.array(clip)`): other models are given the same memory",
        )
    shared = [np.frombuffer(clip.tobytes(), np.float32) for clip in subject.clips]
    checked_results(subject.engine.transcribe(shared, requests), len(shared))
    return Verdict("ok", "clips in shared memory, which nobody may change")


def errors(subject: Subject) -> Verdict:
    """A clip that is no audio, and good clips beside and after it."""
    one = subject.clips[0]
    seen = "they have results"
    for value in (np.nan, np.inf):
        bad = np.full(subject.rate, value, np.float32)
        try:
            if isinstance(subject.ask([bad])[0], Rejection):
                seen = "they are rejected"
        except EngineError:
            raise
        except Exception as error:
            seen = f"it raises {type(error).__name__}, which counts as that clip's fault"
        after = subject.ask(subject.clips)
        if subject.steady and texts_of(after) != texts_of(subject.together):
            return Verdict(
                "wrong",
                f"after a clip of {value} it hears other words in good clips",
                "keep nothing of a call for the next one; reject clips that are not finite",
            )
        beside = call_isolated(subject.engine, [one, bad, one], [DEFAULT_REQUEST] * 3)
        if subject.steady and texts_of([beside[0], beside[2]]) != texts_of(subject.alone[:1] * 2):
            return Verdict(
                "wrong",
                f"a clip of {value} spoils others of its batch",
                "reject clips that are not finite, before they are put into a batch",
            )
    return Verdict("ok", f"clips of NaN and infinity harm no others; {seen}")

"""Checks of what an engine answers to speech: its results, their order, words, confidences."""

from __future__ import annotations

import re
from collections.abc import Sequence

from serve_app.engines.base import Engine, Hypothesis, Rejection
from serve_app.engines.conformance.subject import (
    WITH_WORDS,
    Result,
    Subject,
    Verdict,
    hypotheses,
    texts_of,
    time_fault,
)
from serve_app.scoring.wer import ErrorCounts, count_edits

#: Share of words in percent, and difference of confidences, that rounding in a batch may change.
_ROUNDED_PERCENT, _ROUNDED = 10.0, 0.05
#: Hertz of the sample rates that speech has.
_LOWEST, _HIGHEST = 4_000, 192_000
#: Clips of the large batch, and their length in seconds.
_MANY, _PIECE_S = 64, 1.8
_OTHER_ORDER = "the results are not in the order of the clips"
_SORT_BACK = "if you sort clips by length, put the results back in the clips' order"


def attribute_values(engine: Engine) -> Verdict:
    """The values of the attributes, whose types are right."""
    if not _LOWEST <= engine.sample_rate <= _HIGHEST:
        return Verdict(
            "wrong",
            f"`sample_rate` is {engine.sample_rate}",
            "give it in hertz: 16000 for most models, 8000 for telephone speech",
        )
    if engine.device not in ("cpu", "cuda"):
        return Verdict("wrong", f"`device` is {engine.device!r}", 'say "cpu" or "cuda"')
    if engine.sha256 and not re.fullmatch(r"[0-9a-f]{64}", engine.sha256):
        return Verdict(
            "wrong",
            "`sha256` is no SHA-256 digest: 64 digits from 0 to 9 and a to f",
            "`hashlib.sha256(...).hexdigest()` of the model's file; an empty text without a file",
        )
    digest = "" if engine.sha256 else ", no sha256: transcripts will not say which file it was"
    return Verdict("ok", f"{engine.sample_rate} Hz, {engine.device}{digest}")


def results(subject: Subject) -> Verdict:
    """Types and number of results, and that speech is transcribed at all."""
    heard = subject.together
    refused = [each.message for each in heard if isinstance(each, Rejection)]
    if refused:
        return Verdict(
            "wrong",
            f"it rejects {len(refused)} of {len(heard)} clips of speech: {refused[0]}",
            "a Rejection is for what can never be transcribed: its record is a dead letter",
        )
    words = sum(len(text.split()) for text in texts_of(heard))
    if not words:
        return Verdict(
            "warning",
            f"it hears nothing in {len(heard)} clips of English speech, so little can be checked",
            "look whether it hears speech of the kind that it is for (`chorus doctor`)",
        )
    return Verdict("ok", f"{len(heard)} clips of speech, {words} words")


def repeated(subject: Subject) -> Verdict:
    """The same clips, twice."""
    if subject.steady:
        return Verdict("ok", "the same clips give the same texts again")
    return Verdict(
        "wrong",
        "the same clips give other texts when they are asked for again",
        "switch off dropout (`model.eval()`) and sampling: a record that is tried again would get "
        "another transcript",
    )


def order(subject: Subject) -> Verdict:
    """The order of results, by clips that are told apart by their texts."""
    texts = texts_of(subject.alone)
    if len(set(texts)) < 2:
        return Verdict(
            "warning",
            "cannot be seen: it says the same of every clip",
            "look whether it hears speech of the kind that it is for (`chorus doctor`)",
        )
    places = list(range(len(texts)))
    for arrangement in (places, places[::-1], places[1::2] + places[::2]):
        got = texts_of(subject.ask([subject.clips[place] for place in arrangement]))
        wanted = [texts[place] for place in arrangement]
        if got != wanted and sorted(got) == sorted(wanted):
            return Verdict("wrong", _OTHER_ORDER, _SORT_BACK)
    return Verdict("ok", "the results are in the order of the clips")


def batch(subject: Subject) -> Verdict:
    """A clip in a batch, against the same clip alone."""
    return _compared(subject, subject.alone, subject.together, "in a batch")


def many(subject: Subject) -> Verdict:
    """64 short clips in one batch, against the same clips alone."""
    size = int(min(_PIECE_S, subject.batch_seconds / _MANY) * subject.rate)
    pieces = [
        clip[first : first + size]
        for clip in subject.clips
        for first in range(0, len(clip) - size // 2, size)
    ]
    alone = [subject.ask([piece])[0] for piece in pieces]
    places = [each % len(pieces) for each in range(0, 3 * _MANY, 3)]
    heard = subject.ask([pieces[place] for place in places])
    return _compared(subject, [alone[place] for place in places], heard, f"among {_MANY} clips")


def words(subject: Subject) -> Verdict:
    """Words only when they are asked for, with times within the clip."""
    if any(each.words is not None for each in hypotheses(subject.together)):
        return Verdict(
            "wrong",
            "it gives `words` that nobody asked for",
            "give them only where `request.words` is true: they cost time, and travel with results",
        )
    asked = subject.ask(subject.clips, [WITH_WORDS] * len(subject.clips))
    spoken = [
        (each, len(clip) / subject.rate)
        for each, clip in zip(asked, subject.clips, strict=True)
        if isinstance(each, Hypothesis) and each.text.strip()
    ]
    missing = sum(each.words is None for each, _ in spoken)
    if missing:
        return Verdict(
            "warning",
            f"{missing} of {len(spoken)} clips have no `words`, although they were asked for",
            "without times there are no subtitles and no word times, and votes and silence "
            "detection know less",
        )
    for heard, seconds in spoken:
        if fault := time_fault(heard.words or [], seconds):
            return Verdict("wrong", fault, "times are in seconds from the start of the clip")
    if any(_spelled(each) != each.text.split() for each, _ in spoken):
        return Verdict(
            "warning",
            "the words are not those of the text",
            "spell them the same: votes take the words, and a model alone its text",
        )
    if subject.steady and texts_of(asked) != texts_of(subject.together):
        return Verdict(
            "warning",
            "the text is another one where words are asked for",
            "what is recognised should not depend on what is asked for",
        )
    return Verdict("ok", "only when asked for, with times within the clip")


def confidence(subject: Subject) -> Verdict:
    """Whether there are confidences, and real ones."""
    heard = [each for each in hypotheses(subject.together) if each.text.strip()]
    values = {each.confidence for each in heard}
    if None in values:
        return Verdict(
            "warning",
            "there is text without a `confidence`",
            "a vote takes its words as certain; give the mean probability of the tokens",
        )
    if len(heard) > 1 and len(values) == 1:
        return Verdict(
            "warning",
            f"`confidence` is {values.pop()} for every clip",
            "take it from the model's scores, or leave it None: a constant decides votes",
        )
    shown = [each for each in values if each is not None]
    known = f", here {min(shown):.2f} to {max(shown):.2f}" if shown else ""
    return Verdict("ok", f"within 0 to 1{known}")


def _compared(
    subject: Subject, alone: Sequence[Result], heard: Sequence[Result], where: str
) -> Verdict:
    """Whether clips have the same results alone and elsewhere."""
    if not subject.steady:
        return Verdict(
            "warning",
            "cannot be seen: the same clips give other texts when they are asked for again",
            "see `repeated`",
        )
    before, after = texts_of(alone), texts_of(heard)
    if before != after and sorted(before) == sorted(after):
        return Verdict("wrong", _OTHER_ORDER, _SORT_BACK)
    if before != after:
        pairs = zip(before, after, strict=True)
        edits = sum(
            (count_edits(one.split(), other.split()) for one, other in pairs), start=ErrorCounts()
        )
        differ = sum(one != other for one, other in zip(before, after, strict=True))
        return Verdict(
            "warning" if (edits.percent or 100.0) <= _ROUNDED_PERCENT else "wrong",
            f"{differ} of {len(before)} clips have another text {where} than alone",
            "mask the padding, or pad with silence: what is beside a clip must not change it",
        )
    gap = max((_gap(one, other) for one, other in zip(alone, heard, strict=True)), default=0.0)
    if gap > _ROUNDED:
        return Verdict(
            "warning",
            f"confidences differ by up to {gap:.2f} {where}",
            "mask the padding: leave out its frames where scores are averaged",
        )
    return Verdict("ok", f"the same text {where} as alone")


def _gap(one: Result, other: Result) -> float:
    values = [each.confidence if isinstance(each, Hypothesis) else None for each in (one, other)]
    known = [each for each in values if each is not None]
    return abs(known[0] - known[1]) if len(known) == 2 else 0.0


def _spelled(heard: Hypothesis) -> list[str]:
    return " ".join(word.word for word in heard.words or ()).split()

"""Judge the texts and the speed of a model: alone, and beside a baseline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from schemas.settings import ValidationSettings
from schemas.text_rules import TextRules, compile_text_rules
from serve_app.engines.trial import TrialReport
from workers.doctor.clips import LINES
from workers.doctor.finding import Finding, failure, ok, warning
from workers.evaluation.statistics.scores import Score, pool, score_utterance
from workers.evaluation.validation.checks import Check, check
from workers.evaluation.validation.findings import BaselineFinding, Findings
from workers.manifests.speech import Utterance

#: WER in percent above which a model hardly hears the speech at all.
LOST_WER = 60.0

_NEXT = {
    "max_wer_increase": "look where it is worse: `chorus compare` with both models; fine-tune with "
    "a `mix` of general speech if it has forgotten",
    "min_speed_ratio": "run `chorus benchmark` with both on an idle machine; a larger model, or a "
    "transducer instead of CTC, is slower by its nature",
    "min_rtfx": "raise `threads` or `num_cpus`, or use a GPU or a smaller model",
    "max_failed": "look at the reasons: `chorus compare --output` has one for each utterance",
}
_NEXT_OF_WER = "run `chorus validate` on the whole test set: it tells what is weak, and what helps"


class Heard(msgspec.Struct, frozen=True):
    """What a model heard in its trial.

    Attributes:
        name: of the model.
        report: of its trial.
        rules: the text rules that its texts are written by, if any.
    """

    name: str
    report: TrialReport
    rules: TextRules | None = None

    @property
    def texts(self) -> list[str | None]:
        """The text of each clip, as it would be served; None where there is none."""
        if self.rules is None:
            return self.report.texts
        write = compile_text_rules(self.rules)
        return [None if text is None else write(text) for text in self.report.texts]

    @property
    def rtfx(self) -> float | None:
        """Seconds of audio divided by seconds of processing."""
        if not self.report.seconds:
            return None
        return round(self.report.audio_seconds / self.report.seconds, 2)


def speech(heard: Heard, utterances: Sequence[Utterance], *, shipped: bool) -> Iterator[Finding]:
    """Whether the model hears the speech, and how fast.

    Args:
        heard: by the model, one text for each utterance.
        utterances: the speech.
        shipped: whether it is the shipped clips.
    """
    rtfx = heard.rtfx or 0.0
    said = f"{heard.report.audio_seconds:.0f} s of speech at {rtfx:,.1f} times real time"
    if rtfx >= 1:
        yield ok("speed", said)
    else:
        yield warning(
            "speed",
            f"{said}: slower than people speak",
            cause="too large a model for this device, or other work on it",
            next=_NEXT["min_rtfx"],
        )
    what = "shipped clips, synthetic English" if shipped else "utterances of the manifest"
    if not shipped and len(utterances) == LINES:
        what += f", its first {LINES} lines"
    if heard.report.rejections:
        yield failure(
            "texts",
            f"no text for {len(heard.report.rejections)} of {len(utterances)} {what}: "
            f"{heard.report.rejections[0]}",
            cause="the engine refuses or fails on this speech",
            next="try it on other speech with --manifest",
        )
    score = _score(heard, utterances)
    spoken = [text for each, text in zip(utterances, heard.texts, strict=True) if each.text]
    if spoken and not any(spoken):
        yield failure(
            "speech",
            f"not a word in {len(spoken)} {what}",
            cause="weights that were not trained or not loaded, another sample rate than the "
            "engine says, or features that the model was not trained on",
            next="transcribe one clip with NeMo itself; if that hears something, report it",
        )
    elif score.wer is None:
        yield warning(
            "speech",
            "accuracy was not examined: no utterance has a `text`",
            next="give references in the manifest",
        )
    elif score.wer > LOST_WER:
        yield warning(
            "speech",
            f"WER {score.wer:.1f}% on {len(spoken)} {what}",
            cause="another language or domain than the model's, or weights that were hardly "
            "trained",
            next="examine it on its own kind of speech with --manifest",
        )
    else:
        yield ok("speech", f"WER {score.wer:.1f}% on {len(spoken)} {what}")


def silence(texts: Sequence[str]) -> Finding:
    """Whether the model hears words where nobody speaks: in silence, and in faint noise."""
    count = sum(len(text.split()) for text in texts)
    if not count:
        return ok("silence", "no words in silence and faint noise")
    return warning(
        "silence",
        f"{count} word{'s' * (count > 1)} in {len(texts)} clips in which nobody speaks",
        cause="it was trained without silence",
        next="set `http.max_no_speech_prob`, route by `audio.speech_share`, or fine-tune with "
        "utterances in which nobody speaks",
    )


def against_baseline(heard: Heard, other: Heard, utterances: Sequence[Utterance]) -> Finding:
    """What the other model achieves on the same speech."""
    score = _score(other, utterances)
    wer = "-" if score.wer is None else f"{score.wer:.1f}%"
    ratio = _ratio(heard, other)
    times = "" if ratio is None else f"; {heard.name} has {ratio:.2f} times its speed"
    return ok("baseline", f"{other.name}: WER {wer}{times}")


def judged(
    heard: Heard,
    other: Heard | None,
    utterances: Sequence[Utterance],
    thresholds: ValidationSettings,
) -> Iterator[Finding]:
    """The limits of `validation` that one short test can judge, as `chorus validate` checks them.

    Args:
        heard: by the model.
        other: by the baseline, if there is one.
        utterances: the speech of both.
        thresholds: of the settings; those of slices and stress tests are left to `validate`.
    """
    score = _score(heard, utterances)
    findings = Findings(
        score=score,
        interval=None,
        slices=[],
        stresses=[],
        rtfx=heard.rtfx,
        heard_in_silence=None,
        confidence=None,
        accuracy=None,
        baseline=_beside(heard, other, utterances) if other is not None else None,
    )
    asked = msgspec.structs.replace(thresholds, max_slice_wer={}, max_degradation={})
    for each in check(findings, asked):
        yield _finding(each)


def _finding(found: Check) -> Finding:
    name = f"validation.{found.key}"
    if found.value is None:
        return warning(
            name, f"not examined: {found.reason}", next="give references in the manifest"
        )
    side = "at least" if found.key.startswith("min_") else "at most"
    said = f"{found.value:.4g}, and is to be {side} {found.limit:g}"
    if found.passed:
        return ok(name, said)
    return failure(name, said, next=_NEXT.get(found.key, _NEXT_OF_WER))


def _beside(heard: Heard, other: Heard, utterances: Sequence[Utterance]) -> BaselineFinding:
    score, mine = _score(other, utterances), _score(heard, utterances)
    known = score.wer is not None and mine.wer is not None
    return BaselineFinding(
        name=other.name,
        score=score,
        rtfx=other.rtfx,
        increase=round(mine.wer - score.wer, 4) if known else None,  # type: ignore[operator]
        interval=None,
        speed_ratio=_ratio(heard, other),
    )


def _ratio(heard: Heard, other: Heard) -> float | None:
    return round(heard.rtfx / other.rtfx, 3) if heard.rtfx and other.rtfx else None


def _score(heard: Heard, utterances: Sequence[Utterance]) -> Score:
    return pool(
        score_utterance(each.text, text, lang=each.lang) if each.has_text else None
        for each, text in zip(utterances, heard.texts, strict=True)
    )

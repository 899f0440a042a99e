"""Run the checks on an engine in a process of its own, as a replica would run the engine."""

from __future__ import annotations

import os
import sys
import sysconfig
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from schemas.settings import ModelSettings
from serve_app.audio.clip import SAMPLE_RATE, Clip
from serve_app.audio.resample import resample
from serve_app.engines.apart import TIMEOUT_S, Ended, own_output, run_apart
from serve_app.engines.available import check_transcribe
from serve_app.engines.base import Engine
from serve_app.engines.conformance import answers, inputs
from serve_app.engines.conformance.subject import Check, State, Subject, Verdict
from serve_app.engines.errors import EngineError, cause_of
from serve_app.engines.load import attribute_fault, check_engine, make_engine
from serve_app.engines.results import ResultError
from serve_app.engines.trial import TrialClip, load_clips
from serve_app.system.memory import peak_bytes
from serve_app.system.processes import block_sigterm
from serve_app.system.sizes import size_text

#: What to do where a result is not what the protocol says.
_ANSWERS = "see `What it answers` in docs/engines.md"


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was checked.

    Attributes:
        name: what was checked.
        state: "wrong" if the engine is not what the protocol says; "warning" if it may be worse
            than it need be, or could not be checked.
        said: what was seen, in a sentence without a full stop.
        next: what to do; empty if all is well.
    """

    name: str
    state: State
    said: str
    next: str = ""


class _Stage(NamedTuple):
    """A check; where it raises, that is wrong, and `advice` says what to do."""

    name: str
    check: Check
    advice: str = _ANSWERS


#: Folders of code that is not the engine's: ours, Python's, and that of libraries.
_OTHERS = (
    Path(__file__).parents[2],
    *(Path(sysconfig.get_path(each)) for each in ("stdlib", "purelib", "platlib")),
)
#: What the others need; they are left out where one of these is wrong.
_LOADING = {
    "load": "see `What the class gets` in docs/engines.md; --path and --option are what it gets",
    "attributes": "see `What the class gets` in docs/engines.md",
    "warm up": "a replica whose `warm_up` raises does not start",
    "health": "a replica that cannot transcribe a second of noise does not start",
}
_STAGES = (
    _Stage("results", answers.results),
    _Stage("repeated", answers.repeated, "it works once, and not twice: keep nothing of a call"),
    _Stage("order", answers.order),
    _Stage("batch", answers.batch, "it must take clips of different lengths together"),
    _Stage("64 clips", answers.many, "many short clips come in one batch"),
    _Stage("words", answers.words),
    _Stage("confidence", answers.confidence),
    _Stage("silence", inputs.silence, "give a Hypothesis with an empty text"),
    _Stage("short clips", inputs.short, "pad what is too short for the model with silence"),
    _Stage(
        "40 seconds",
        inputs.long,
        "clips come whole: cut them by serve_app.engines.splitting, and join the results",
    ),
    _Stage("language", inputs.language, "ignore a language that the model does not know"),
    _Stage(
        "languages",
        inputs.identification,
        "give a list with (code, probability) or None for each clip; see `Identifying languages`",
    ),
    _Stage("phrases", inputs.phrases, "ignore phrases that the model cannot use"),
    _Stage("read-only", inputs.read_only, "copy a clip before you change it: `np.array(clip)`"),
    _Stage("errors", inputs.errors, "a clip at fault must not spoil the calls after it"),
)
#: Of all checks, in their order.
NAMES = (*_LOADING, *(each.name for each in _STAGES))

#: Speech at a sample rate in hertz.
SpeechAt = Callable[[int], list[Clip]]


class _Job(msgspec.Struct, frozen=True):
    settings: ModelSettings
    speech: Sequence[TrialClip]


def check_apart(
    settings: ModelSettings, speech: Sequence[TrialClip], *, timeout_s: float = TIMEOUT_S
) -> list[Checked]:
    """Check an engine in a process of its own, with the GPU if there is one. Blocks meanwhile.

    Args:
        settings: of the model.
        speech: that it hears: several clips of a few seconds, of different lengths.
        timeout_s: longest time of all checks together.

    Returns:
        The checks in the order of `NAMES`. They end early with one that is wrong: where the engine
        does not load or transcribe at all, or where its process ended, hung or took too much
        memory.
    """
    job = msgspec.json.encode(_Job(settings, speech))
    ended = run_apart(__name__, job, gpu=True, timeout_s=timeout_s)
    lines = ended.output.splitlines(keepends=True)
    whole = [line for line in lines if line.endswith(b"\n")]
    found = [msgspec.json.decode(line, type=Checked) for line in whole]
    if ended.code == 0 or len(found) == len(NAMES):
        return found
    said, advice = _death(ended)
    last = Checked(name=NAMES[len(found)], state="wrong", said=said, next=advice)
    return [*found, last]


def _death(ended: Ended) -> tuple[str, str]:
    """How a process ended that did not do all it had to, and what to do."""
    if ended.limit:
        return (
            f"its process {ended.limit}",
            "look for a call that never returns or keeps memory; a replica would be replaced after "
            "`serve.health_timeout_s`",
        )
    signal = f"of signal {-ended.code}" if ended.code < 0 else f"with exit code {ended.code}"
    return (
        f"its process ended {signal}",
        "raise an exception instead: a replica that ends is lost with all its work",
    )


def check(settings: ModelSettings, speech_at: SpeechAt) -> Iterator[Checked]:
    """Check an engine in this process and thread; see `check_apart`."""
    made: list[Engine] = []
    steps = zip(_LOADING.items(), _loading(settings, made), strict=True)
    for (name, advice), step in steps:
        found = _judged(name, step, advice)
        yield found
        if found.state == "wrong":
            return
    [engine] = made
    subject = Subject(engine, speech_at(engine.sample_rate), settings.batch_seconds)
    for stage in _STAGES:
        found = _judged(stage.name, partial(stage.check, subject), stage.advice)
        yield found
        if found.state == "wrong" and stage is _STAGES[0]:
            return


def _loading(settings: ModelSettings, made: list[Engine]) -> Iterator[Callable[[], Verdict]]:
    """What loads the engine, puts it into `made`, and asks it for the first time."""

    def load() -> Verdict:
        made.append(make_engine(settings))
        return Verdict("ok", f"{settings.engine}, {size_text(peak_bytes())} of memory")

    def attributes() -> Verdict:
        if (fault := attribute_fault(made[0])) is not None:
            return Verdict("wrong", fault, _LOADING["attributes"])
        check_transcribe(settings.engine, getattr(made[0], "transcribe", None))
        return answers.attribute_values(made[0])

    def warm_up() -> Verdict:
        method = getattr(made[0], "warm_up", None)
        if method is None:
            return Verdict("ok", "it has no `warm_up`, which is optional")
        method()
        return Verdict("ok", "`warm_up` runs before the first clip")

    def health() -> Verdict:
        check_engine(made[0])
        return Verdict("ok", "a second of noise, as replicas ask when they start")

    yield from (load, attributes, warm_up, health)


def _judged(name: str, ask: Callable[[], Verdict], advice: str) -> Checked:
    try:
        verdict = ask()
    except ResultError as error:
        verdict = Verdict("wrong", str(error), _ANSWERS)
    except EngineError as error:
        lost = "" if name in _LOADING else "for its EngineError a replica would be replaced: "
        verdict = Verdict("wrong", f"{lost}{error}{_place(error)}", advice)
    except (Exception, SystemExit) as error:
        verdict = Verdict("wrong", f"it raises {cause_of(error)}{_place(error)}", advice)
    return Checked(name=name, state=verdict.state, said=verdict.said, next=verdict.next)


def _place(error: BaseException) -> str:
    """The line of the engine's own code that an error came through; empty if there is none."""
    cause: BaseException | None = error
    while cause is not None:
        for frame in reversed(traceback.extract_tb(cause.__traceback__)):
            path = Path(frame.filename)
            if not any(path.is_relative_to(each) for each in _OTHERS):
                return f" (line {frame.lineno} of {path.name})"
        cause = cause.__cause__
    return ""


def _main() -> int:
    output = own_output()
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=_Job)

    def speech_at(rate: int) -> list[Clip]:
        """Decoded and resampled as for a replica."""
        clips = load_clips(job.speech, SAMPLE_RATE)
        return [resample(clip, SAMPLE_RATE, rate) for clip in clips]

    def run() -> None:
        for found in check(job.settings, speech_at):
            os.write(output, msgspec.json.encode(found) + b"\n")
        done.append(True)

    done: list[bool] = []
    block_sigterm()
    thread = threading.Thread(target=run, name="engine")  # not the main one, as in a replica
    thread.start()
    thread.join()
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(_main())

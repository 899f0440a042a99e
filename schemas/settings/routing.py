"""The section `routing`: which plan or model transcribes a record."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from itertools import chain
from pathlib import Path

from schemas.settings.types import Fault, Name, PositiveFloat, Probability, Strict, under

#: The name that stands for the rules of `routing`, where a request can name a model or a plan.
AUTO = "auto"

#: Name of the rule in a result if no rule holds.
DEFAULT = "default"
#: Name of the rule in a result if the caller has named the plan or model.
REQUESTED = "requested"
#: Names that no rule can have, with what results mean by them.
_RESERVED = {DEFAULT: "no rule holds", REQUESTED: "the caller names the plan or model"}

#: Measures of the audio that a rule may test, with their meaning; see `serve_app.audio.measures`.
MEASURES = {
    "audio.seconds": "length of the segment",
    "audio.snr_db": "estimated signal-to-noise ratio in dB",
    "audio.bandwidth_hz": "highest frequency with speech in Hz; below 4000 for telephone speech",
    "audio.level_dbfs": "root mean square in dB of full scale",
    "audio.clipping": "share of the samples at full scale, 0 to 1",
    "audio.channels": "number of channels of the file",
    "audio.channel_similarity": "correlation of the channels: 1 where all are the same, 0 where "
    "they have nothing in common, -1 where two cancel each other; only of files with several",
    "audio.speech_share": "share of the time in which somebody speaks, 0 to 1",
    "audio.lang": "language that is spoken: what the record says in `lang`, without the country, "
    "or else what `routing.language_model` hears",
    "audio.lang_confidence": "probability of that language, 0 to 1; 1 where the record says it",
}
#: The measure that is computed only if a rule tests it: it costs more than all others.
SPEECH_SHARE = "audio.speech_share"
#: The measures that a model is asked for, and only where a rule depends on them.
LANGUAGE, LANGUAGE_CONFIDENCE = "audio.lang", "audio.lang_confidence"
#: Both of them.
LANGUAGE_MEASURES = frozenset({LANGUAGE, LANGUAGE_CONFIDENCE})

Scalar = str | int | float | bool


class Condition(Strict):
    """A test of one field; exactly one of the tests is given.

    Attributes:
        field: a key of the manifest record (extra keys too), or a measure of its audio such as
            `audio.snr_db`; docs/routing.md lists them.
        equals: the field has this value.
        one_of: the field has one of these values.
        contains: the field's text contains one of these, upper and lower case alike.
        matches: a regular expression found anywhere in the field's text.
        below: the field is a number less than this.
        at_least: the field is a number not less than this.
        present: whether the record has the field.
    """

    field: str
    equals: Scalar | None = None
    one_of: list[Scalar] | None = None
    contains: list[str] | None = None
    matches: str | None = None
    below: float | None = None
    at_least: float | None = None
    present: bool | None = None


TESTS = ("equals", "one_of", "contains", "matches", "below", "at_least", "present")


class Rule(Strict):
    """If `all` of its conditions hold and at least one of `any`, use a plan or a model.

    Attributes:
        name: name of the rule; transcripts say by which rule they were made. `default` and
            `requested` are reserved: they mean that no rule held, or that the caller chose.
        model: model to use. Instead of `plan`.
        plan: plan or model to use. Instead of `model`.
        all: conditions that must all hold.
        any: conditions of which at least one must hold, where any are given.
    """

    name: Name
    model: str | None = None
    plan: str | None = None
    all: list[Condition] = []
    any: list[Condition] = []

    @property
    def target(self) -> str:
        """The plan or model that is named."""
        return self.plan or self.model or ""


class Routing(Strict):
    """How a record is transcribed: by the first rule that holds, else by `default`.

    Attributes:
        default: plan or model of the records for which no rule holds.
        rules: tested in this order; the first that holds decides.
        timeout_s: longest wait for a model's answer in seconds; then the records are tried
            again.
        calibration: file written by `chorus calibrate`, relative to the settings file: how
            reliable each model's confidences are. Without it they are compared as they are.
        max_no_speech_prob: words are left out of the text where the probability that nobody
            speaks (Silero VAD) stays above this within half a second of them, such as 0.9; the
            transcript has them as `suppressed`. Takes 2 ms of CPU per second of audio. Off unless
            given; the HTTP API has a setting of its own.
        language_model: model that identifies the language for rules on `audio.lang`: Whisper of
            several languages, or one of your own engine (docs/engines.md). It is asked where a
            rule depends on the language and the record does not have it.
        language_timeout_s: longest wait for its answer in seconds; then the language is unknown,
            and rules that test it do not hold.
    """

    default: str
    rules: list[Rule] = []
    timeout_s: PositiveFloat = 120.0
    calibration: str | None = None
    max_no_speech_prob: Probability | None = None
    language_model: str | None = None
    language_timeout_s: PositiveFloat = 30.0

    @property
    def conditions(self) -> list[Condition]:
        """Those of all rules."""
        return [each for rule in self.rules for each in (*rule.all, *rule.any)]


def routing_faults(
    routing: Routing, models: Collection[str], plans: Collection[str], base: Path | None
) -> Iterator[Fault]:
    """What contradicts itself in the section, or names what does not exist.

    Args:
        routing: the section.
        models: names of the models that the settings define.
        plans: names of the plans that they define.
        base: folder that relative paths are relative to; None if files are not looked for.
    """
    targets = [*models, *plans]
    if routing.default not in targets:
        known = ", ".join(targets)
        yield "routing.default", f"no plan or model `{routing.default}`; defined are: {known}"
    calibration = routing.calibration
    if base is not None and calibration is not None and not (base / calibration).is_file():
        yield "routing.calibration", f"no such file: {routing.calibration}"
    language_model = routing.language_model
    if language_model is not None and language_model not in models:
        known = ", ".join(models)
        yield "routing.language_model", f"no model `{language_model}`; defined are: {known}"
    taken: set[str] = set()
    for index, rule in enumerate(routing.rules):
        faults = chain(
            _target_faults(rule, models, targets),
            _rule_name_faults(rule, taken),
            _rule_condition_faults(rule, identifies=language_model is not None),
        )
        yield from under(f"routing.rules[{index}]", faults)
        taken.add(rule.name)


def reserved_name_faults(sections: Mapping[str, Collection[str]]) -> Iterator[Fault]:
    """Models and plans with the name `AUTO`, which is reserved.

    Args:
        sections: the names that each section defines.
    """
    for section, names in sections.items():
        if AUTO in names:
            reason = f"the name `{AUTO}` stands for the routing rules; choose another one"
            yield f"{section}.{AUTO}", reason


def _target_faults(
    rule: Rule, models: Collection[str], targets: Collection[str]
) -> Iterator[Fault]:
    if (rule.model is None) == (rule.plan is None):
        yield "", "give exactly one of `plan` and `model`"
    elif rule.model is not None and rule.model not in models:
        yield ".model", f"no model `{rule.model}`; defined are: {', '.join(models)}"
    elif rule.target not in targets:
        yield ".plan", f"no plan or model `{rule.plan}`; defined are: {', '.join(targets)}"


def _rule_name_faults(rule: Rule, taken: Collection[str]) -> Iterator[Fault]:
    if rule.name in _RESERVED:
        meanings = "; ".join(f"`{name}` where {meaning}" for name, meaning in _RESERVED.items())
        yield ".name", f"the name `{rule.name}` is reserved: results have {meanings}"
    elif rule.name in taken:
        yield ".name", f"the name `{rule.name}` is taken; each rule needs a name of its own"


def _rule_condition_faults(rule: Rule, *, identifies: bool) -> Iterator[Fault]:
    if not rule.all and not rule.any:
        yield "", "has no condition; give `all` or `any`"
    for group, conditions in (("all", rule.all), ("any", rule.any)):
        for number, condition in enumerate(conditions):
            faults = _condition_faults(condition, identifies=identifies)
            yield from under(f".{group}[{number}]", faults)


def _condition_faults(condition: Condition, *, identifies: bool) -> Iterator[Fault]:
    given = [test for test in TESTS if getattr(condition, test) is not None]
    if len(given) != 1:
        yield "", f"give exactly one of {', '.join(TESTS)}"
    if condition.field.startswith("audio.") and condition.field not in MEASURES:
        yield ".field", f"no measure `{condition.field}`; there are: {', '.join(MEASURES)}"
    if condition.field in LANGUAGE_MEASURES and not identifies:
        yield ".field", f"`{condition.field}` needs `routing.language_model`, which identifies it"
    if condition.matches is not None:
        try:
            re.compile(condition.matches)
        except re.error as error:
            yield ".matches", f"not a regular expression: {error}"

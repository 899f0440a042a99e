"""The settings file: one YAML file, decoded strictly, checked whole before anything starts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml

from schemas.text_rules import TextRules, text_rule_faults

#: Where something may name a model or a plan, the rules of `routing` as a whole.
AUTO = "auto"

PositiveInt = Annotated[int, msgspec.Meta(ge=1)]
PositiveFloat = Annotated[float, msgspec.Meta(gt=0)]
NonNegativeFloat = Annotated[float, msgspec.Meta(ge=0)]
NAME_PATTERN = r"^[a-z0-9][a-z0-9_.-]{0,62}$"
Name = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]


class SettingsError(ValueError):
    """The settings file is wrong; the message names the file, the key and what to do."""


class _Strict(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """An unknown key is an error: a typo must not become a default."""


#: More phrases take NeMo minutes to build a tree of, and help less each.
MAX_PHRASES = 5_000


class Autoscaling(_Strict):
    """Replicas by load (Ray Serve's autoscaler)."""

    min_replicas: Annotated[int, msgspec.Meta(ge=0)] = 1
    max_replicas: PositiveInt = 4
    target_ongoing_requests: PositiveFloat = 2.0
    upscale_delay_s: NonNegativeFloat = 10.0
    downscale_delay_s: NonNegativeFloat = 300.0


class ModelSettings(_Strict):
    """One domain model.

    Attributes:
        engine: "nemo", or "package.module:Class" for an engine of your own (see
            `serve_app.engines.base.Engine`).
        path: local model file (`.nemo`); relative to the settings file.
        pretrained: name of a pretrained NeMo model, fetched from its hub. Instead of `path`.
        sha256: expected digest of the file at `path`; loading refuses another one.
        gpu_fraction: share of a GPU per replica. Ignored on a machine without a GPU.
        num_cpus: CPU cores per replica.
        replicas: fixed number of replicas, unless `autoscaling` is given.
        batch_seconds: seconds of padded audio (clips x longest clip) in one batch.
        interactive_share: of the model's time that HTTP requests may have while the stream waits;
            they go first within it.
        split_seconds: longer audio is split at silences into pieces of at most this length.
        dtype: "auto" is float32 on a CPU and bfloat16 on a GPU.
        head: which head of a hybrid model decodes; "auto" is the model's default (RNNT/TDT).
        threads: CPU threads of the model; 0 takes `num_cpus`, at least one.
        confidence: whether word and utterance confidences are computed.
        words: whether words with times are part of every result.
        text_rules: name of the rules for its texts, see `text_rules` of the settings.
        phrases: words and phrases to listen for: names, drugs, terms. As the model spells them.
        phrase_weight: how hard; too much of it hears them where they are not.
        options: passed to an engine of your own as they are.
    """

    engine: str = "nemo"
    path: str | None = None
    pretrained: str | None = None
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")] | None = None
    gpu_fraction: Annotated[float, msgspec.Meta(gt=0, le=8)] = 0.2
    num_cpus: NonNegativeFloat = 1.0
    replicas: PositiveInt = 1
    autoscaling: Autoscaling | None = None
    batch_seconds: PositiveFloat = 120.0
    interactive_share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.75
    split_seconds: Annotated[float, msgspec.Meta(ge=2)] = 40.0
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    head: Literal["auto", "ctc", "rnnt"] = "auto"
    threads: Annotated[int, msgspec.Meta(ge=0)] = 0
    confidence: bool = True
    words: bool = False
    text_rules: str | None = None
    phrases: Annotated[list[str], msgspec.Meta(max_length=MAX_PHRASES)] = []
    phrase_weight: Annotated[float, msgspec.Meta(gt=0, le=5)] = 0.5
    options: dict[str, Any] = {}

    @property
    def source(self) -> str:
        """Where the model comes from, as the settings say it."""
        return self.path or self.pretrained or self.engine


#: Measures of the audio that a rule may test, by what they are; see `serve_app.audio.measures`.
MEASURES = {
    "audio.seconds": "length of the segment",
    "audio.snr_db": "estimated signal-to-noise ratio in dB",
    "audio.bandwidth_hz": "highest frequency with speech: below 4000 it went through a telephone",
    "audio.level_dbfs": "root mean square in dB of full scale",
    "audio.clipping": "share of the samples at full scale, 0 to 1",
    "audio.speech_share": "share of the time in which somebody speaks, 0 to 1",
}
#: Of them the one that is measured only where a rule tests it.
SPEECH_SHARE = "audio.speech_share"

Scalar = str | int | float | bool


class Condition(_Strict):
    """A test of one field; exactly one of the tests is given.

    Attributes:
        field: a key of the manifest record (extra keys too), or a measure of its audio, see
            `MEASURES`.
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


class Combiner(_Strict):
    """How the hypotheses of an ensemble become one, see `serve_app.combining`.

    Attributes:
        method: "weighted" takes the text of the heaviest member that has one; "confidence" that of
            the most confident; "mbr" the one that differs least from all, weighted by confidence
            (minimum Bayes risk); "rover" votes word by word.
        weights: of the members, for "weighted" (in equal parts unless given).
        alpha: of "rover": 1 counts votes only, 0 confidences only.
        null_confidence: of "rover": that a member is right in having no word at a place.
        vote_confidence: of "rover": how the confidences of a word count together, see
            `serve_app.combining.vote.Confidence`.
        max_gap_s: of "rover": words that are farther apart, in seconds, are never taken for the
            same place, where all members have times. Not tested unless given.
        power: the higher, the more a confident member's vote weighs, in "rover" and "mbr".
    """

    method: Literal["weighted", "confidence", "rover", "mbr"] = "rover"
    weights: dict[Name, NonNegativeFloat] = {}
    alpha: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5
    null_confidence: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.4
    vote_confidence: Literal["mean", "highest", "share"] = "share"
    max_gap_s: NonNegativeFloat | None = None
    power: NonNegativeFloat = 10.0


class Tiers(_Strict):
    """A cheap model first; what it makes of a record decides who has the last word.

    Attributes:
        screen: the cheap model.
        high_quality, standard: a model or an ensemble. Without `standard` the screening's own text
            is the last word there.
        max_screening_wer: a record with a reference goes to `high_quality` if the screening's WER
            is at most so many percent (NeMo Curator's tutorial), else to `standard`.
        min_confidence: a record without one goes to `high_quality` if the screening is less
            confident than this, else to `standard`.
        use_reference: False judges by confidence also where there is a reference.
    """

    screen: str
    high_quality: str
    standard: str | None = None
    max_screening_wer: NonNegativeFloat = 40.0
    min_confidence: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.93
    use_reference: bool = True


class Plan(_Strict):
    """How a record is transcribed; exactly one of `model`, `ensemble` and `tiers` is given.

    Attributes:
        model: one model.
        ensemble: several models, whose hypotheses are combined.
        combine: how, for an ensemble; what the calibration recommends unless given.
        patience_s: how long an ensemble waits for the others once one member has answered.
        tiers: one model after another.
        fallback: models to ask, one after the other, where the plan has no text: its model fails,
            does not answer within `fallback_after_s`, or has no replica.
    """

    model: str | None = None
    ensemble: list[str] | None = None
    combine: Combiner | None = None
    patience_s: PositiveFloat = 10.0
    tiers: Tiers | None = None
    fallback: list[str] = []
    fallback_after_s: PositiveFloat = 20.0


class Rule(_Strict):
    """If `all` of its conditions hold and at least one of `any`, use a plan or a model.

    Attributes:
        plan, model: exactly one of them; a model is the plan of asking just it.
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


class Routing(_Strict):
    """How a record is transcribed: by the first rule that holds, else by `default`.

    Attributes:
        default: a plan or a model.
        timeout_s: longest wait for a model's answer; then the records are tried again.
        calibration: file of `chorus calibrate`, relative to the settings file: what the models'
            confidences are worth. Without it they are compared as they are.
    """

    default: str
    rules: list[Rule] = []
    timeout_s: PositiveFloat = 120.0
    calibration: str | None = None


class AudioSettings(_Strict):
    """What audio may be read.

    Attributes:
        roots: folders that audio must lie in, checked after symbolic links are resolved;
            relative ones are relative to the settings file.
        max_seconds: longest segment.
        max_bytes: largest file.
        max_channels, min_sample_rate, max_sample_rate: of the file, in hertz.
        threads: files read at once by each Router replica.
    """

    roots: Annotated[list[str], msgspec.Meta(min_length=1)]
    max_seconds: PositiveFloat = 3600.0
    max_bytes: PositiveInt = 1 << 30
    max_channels: PositiveInt = 8
    min_sample_rate: PositiveInt = 4_000
    max_sample_rate: PositiveInt = 192_000
    threads: PositiveInt = 4


class FromEnvironment(_Strict):
    """A secret: the value of an environment variable, read when the client is made."""

    env: str


class Topics(_Strict):
    """Names of the topics."""

    manifests: str = "asr.manifests"
    transcripts: str = "asr.transcripts"
    metrics: str = "asr.metrics"
    dead_letters: str = "asr.dead-letters"


class KafkaSettings(_Strict):
    """Where Kafka is and how to talk to it.

    Attributes:
        client: any further option of kafka-python's clients, TLS and SASL among them, by its
            own name: `security_protocol`, `ssl_cafile`, `sasl_mechanism`,
            `sasl_plain_password: {env: KAFKA_PASSWORD}`.
    """

    bootstrap_servers: Annotated[list[str], msgspec.Meta(min_length=1)] = msgspec.field(
        default_factory=lambda: ["127.0.0.1:9092"]
    )
    group: str = "chorus"
    topics: Topics = msgspec.field(default_factory=Topics)
    client: dict[str, str | int | float | bool | FromEnvironment] = {}


class StreamSettings(_Strict):
    """How the stream worker works.

    Attributes:
        guarantee: "exactly_once" commits results and offsets in one transaction;
            "at_least_once" commits offsets after the results are acknowledged.
        workers: stream workers that `chorus serve --worker` runs as a Serve app.
        batch_records: records in one call of the Router.
        batches_in_flight: calls of the Router at once.
        max_pending_records: fetching pauses while this many records are not yet committed.
        max_pending_bytes: the same, in bytes of record values.
        commit_interval_s: longest time from a result to its commit.
        commit_records: a transaction is committed early when it holds this many results.
        transaction_timeout_s: the broker aborts a transaction that is open longer.
        session_timeout_s: the group drops a worker that is silent longer.
        call_timeout_s: longest wait for one call of the Router.
        drain_timeout_s: longest wait for work in flight on shutdown.
        retry_initial_s, retry_max_s: first and longest pause of the exponential backoff.
        breaker_failures: consecutive failed calls that open the circuit breaker.
        suspect_attempts: how often a record may kill a replica alone before it is given up.
        max_dead_letter_ratio: share of dead letters among the last `dead_letter_window` records
            that stops the worker.
        dead_letter_window: records over which the ratio is taken.
        max_consecutive_dead_letters: run of dead letters that stops the worker.
    """

    guarantee: Literal["exactly_once", "at_least_once"] = "exactly_once"
    workers: PositiveInt = 1
    batch_records: PositiveInt = 128
    batches_in_flight: PositiveInt = 4
    max_pending_records: PositiveInt = 1024
    max_pending_bytes: PositiveInt = 64 << 20
    commit_interval_s: PositiveFloat = 1.0
    commit_records: PositiveInt = 1000
    transaction_timeout_s: PositiveFloat = 30.0
    session_timeout_s: PositiveFloat = 15.0
    call_timeout_s: PositiveFloat = 300.0
    drain_timeout_s: PositiveFloat = 20.0
    retry_initial_s: PositiveFloat = 0.5
    retry_max_s: PositiveFloat = 15.0
    breaker_failures: PositiveInt = 3
    suspect_attempts: PositiveInt = 3
    max_dead_letter_ratio: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.5
    dead_letter_window: PositiveInt = 1000
    max_consecutive_dead_letters: PositiveInt = 200


class ServeSettings(_Strict):
    """Ray and the Router.

    Attributes:
        address: address of a running Ray cluster; None starts one on this machine, unless the
            environment variable RAY_ADDRESS names one.
        app: name of the Serve application.
        routers: Router replicas.
        router_num_cpus: CPU cores reserved per Router replica.
        max_ongoing_requests: lists that one Router replica works on at once.
        health_timeout_s: a model that has not finished a batch for this long is unhealthy.
    """

    address: str | None = None
    app: Name = "chorus"
    routers: PositiveInt = 1
    router_num_cpus: NonNegativeFloat = 1.0
    max_ongoing_requests: PositiveInt = 64
    health_timeout_s: PositiveFloat = 60.0


class ApiKey(_Strict):
    """One client of the HTTP API; exactly one of `sha256` and `env` is given.

    Attributes:
        sha256: of the key, in hexadecimal; `chorus key` makes both.
        env: name of the environment variable that holds the key.
        max_concurrent: requests at once; more are answered with 429.
        audio_seconds_per_minute: of audio that is taken in; more is answered with 429. No limit
            unless given.
    """

    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")] | None = None
    env: str | None = None
    max_concurrent: PositiveInt = 16
    audio_seconds_per_minute: PositiveFloat | None = None


class HttpSettings(_Strict):
    """The HTTP API of `chorus serve`. All limits are those of one replica.

    Attributes:
        host, port: where Serve's proxy listens.
        keys: by the names of clients; the names are what is logged. Without any, everybody may
            ask, and then only a loopback address is listened at, unless `chorus serve --open`.
        allowed_origins: of web pages that may call from a browser; "*" for all.
        replicas: of the API.
        num_cpus: CPU cores reserved per replica.
        max_requests: at once; more are answered with 503 before their bodies are read.
        max_upload_bytes: of a request's body.
        upload_timeout_s: longest time for a request's body to arrive.
        timeout_s: longest time for an answer.
        decoders: processes that decode uploaded media, in each replica.
        decode_timeout_s: longest time for that.
        piece_seconds: longer audio is split at silences into pieces of at most this length, which
            the replicas of a model share.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8000
    keys: dict[Name, ApiKey] = {}
    allowed_origins: list[str] = []
    replicas: PositiveInt = 1
    num_cpus: NonNegativeFloat = 0.5
    max_requests: PositiveInt = 256
    max_upload_bytes: PositiveInt = 200 << 20
    upload_timeout_s: PositiveFloat = 120.0
    timeout_s: PositiveFloat = 300.0
    decoders: PositiveInt = 2
    decode_timeout_s: PositiveFloat = 60.0
    piece_seconds: Annotated[float, msgspec.Meta(ge=2, le=300)] = 30.0


Percent = Annotated[float, msgspec.Meta(ge=0)]


class ValidationSettings(_Strict):
    """What a model must show in `chorus validate`; what is not given is not asked for.

    Attributes:
        max_wer, max_cer: pooled over the test set, in percent.
        max_failed: utterances without a text, in percent.
        min_rtfx: seconds of audio by seconds of work.
        max_slice_wer: WER in percent by slice: `short`, `long`, `noisy`, `telephone`, or
            `key=value` for a key of the manifest.
        max_degradation: points of WER by stress: `noise at 10 dB`, `telephone band`, ...
        min_words: a slice with fewer reference words cannot show that it is good enough.
    """

    max_wer: Percent | None = None
    max_cer: Percent | None = None
    max_failed: Percent | None = None
    min_rtfx: PositiveFloat | None = None
    max_slice_wer: dict[str, Percent] = {}
    max_degradation: dict[str, Percent] = {}
    min_words: PositiveInt = 50


class Settings(_Strict):
    """The whole file."""

    models: Annotated[dict[Name, ModelSettings], msgspec.Meta(min_length=1)]
    routing: Routing
    audio: AudioSettings
    plans: dict[Name, Plan] = {}
    text_rules: dict[Name, TextRules] = {}
    kafka: KafkaSettings = msgspec.field(default_factory=KafkaSettings)
    stream: StreamSettings = msgspec.field(default_factory=StreamSettings)
    serve: ServeSettings = msgspec.field(default_factory=ServeSettings)
    http: HttpSettings | None = None
    validation: ValidationSettings = msgspec.field(default_factory=ValidationSettings)


def load_settings(path: str | os.PathLike[str]) -> Settings:
    """Read and check a settings file.

    Relative paths in it (models, audio roots) come back absolute.

    Raises:
        SettingsError: the file cannot be read, is not YAML, has an unknown key, a wrong type or
            value, or contradicts itself. All contradictions are named at once.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise SettingsError(f"{path}: cannot be read: {reason}") from None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: not valid YAML: {error}") from None
    try:
        settings = msgspec.convert(raw, Settings, strict=True)
    except msgspec.ValidationError as error:
        reason, _, where = str(error).partition(" - at ")
        key = where.strip("`").removeprefix("$").removeprefix(".")
        if key.startswith("models[...]"):
            key = f"models.{_faulty_model(raw)}{key.removeprefix('models[...]')}"
        raise SettingsError(f"{_place(path, node, key)}: {reason}") from None
    base = path.resolve().parent
    problems = [
        f"{_place(path, node, key)}: {text}" for key, text in _contradictions(settings, base)
    ]
    if problems:
        raise SettingsError("\n".join(problems))
    for model in settings.models.values():
        if model.path is not None:
            model.path = str(base / model.path)
    settings.audio.roots = [str(base / root) for root in settings.audio.roots]
    if settings.routing.calibration is not None:
        settings.routing.calibration = str(base / settings.routing.calibration)
    return settings


def client_options(kafka: KafkaSettings) -> dict[str, str | int | float | bool]:
    """`kafka.client` with the secrets filled in from the environment.

    Raises:
        SettingsError: an environment variable that it names is not set.
    """
    options: dict[str, str | int | float | bool] = {}
    for key, value in kafka.client.items():
        if isinstance(value, FromEnvironment):
            if value.env not in os.environ:
                raise SettingsError(
                    f"kafka.client.{key}: environment variable {value.env} is not set"
                )
            options[key] = os.environ[value.env]
        else:
            options[key] = value
    return options


def _contradictions(settings: Settings, base: Path) -> Iterator[tuple[str, str]]:
    """Pairs of (key, what is wrong) that types alone cannot say."""
    names = ", ".join(settings.models)
    for name, model in settings.models.items():
        key = f"models.{name}"
        if model.engine == "nemo":
            if (model.path is None) == (model.pretrained is None):
                yield key, "give either `path` (a .nemo file) or `pretrained` (a model's name)"
            elif model.path is not None and not (base / model.path).is_file():
                yield f"{key}.path", f"no such file: {model.path}"
        elif not re.fullmatch(r"[\w.]+:\w+", model.engine):
            yield f"{key}.engine", f"`{model.engine}` is neither `nemo` nor `package.module:Class`"
        if model.text_rules is not None and model.text_rules not in settings.text_rules:
            known = ", ".join(settings.text_rules) or "none"
            yield f"{key}.text_rules", f"no rules `{model.text_rules}`; defined are: {known}"
        scaling = model.autoscaling
        if scaling is not None and scaling.min_replicas > scaling.max_replicas:
            yield f"{key}.autoscaling", "`min_replicas` is greater than `max_replicas`"
    for name, text_rules in settings.text_rules.items():
        for part, reason in text_rule_faults(text_rules):
            yield f"text_rules.{name}.{part}", reason
    yield from _plan_faults(settings)
    routing = settings.routing
    targets = {**settings.models, **settings.plans}
    known = ", ".join(targets)
    if routing.default not in targets:
        yield "routing.default", f"no plan or model `{routing.default}`; defined are: {known}"
    if routing.calibration is not None and not (base / routing.calibration).is_file():
        yield "routing.calibration", f"no such file: {routing.calibration}"
    seen: set[str] = set()
    for index, rule in enumerate(routing.rules):
        key = f"routing.rules[{index}]"
        if (rule.model is None) == (rule.plan is None):
            yield key, "give exactly one of `plan` and `model`"
        elif rule.model is not None and rule.model not in settings.models:
            yield f"{key}.model", f"no model `{rule.model}`; defined are: {names}"
        elif rule.target not in targets:
            yield f"{key}.plan", f"no plan or model `{rule.plan}`; defined are: {known}"
        if rule.name in seen or rule.name == "default":
            yield f"{key}.name", f"the name `{rule.name}` is taken"
        seen.add(rule.name)
        if not rule.all and not rule.any:
            yield key, "has no condition; give `all` or `any`"
        for group in ("all", "any"):
            for number, condition in enumerate(getattr(rule, group)):
                yield from _condition_faults(f"{key}.{group}[{number}]", condition)
    for name, api_key in (settings.http.keys if settings.http else {}).items():
        if (api_key.sha256 is None) == (api_key.env is None):
            yield f"http.keys.{name}", "give either `sha256` or `env`"
    if AUTO in targets:
        section = "models" if AUTO in settings.models else "plans"
        yield f"{section}.{AUTO}", f"the name `{AUTO}` is taken: it means the rules"
    for index, root in enumerate(settings.audio.roots):
        if not (base / root).is_dir():
            yield f"audio.roots[{index}]", f"no such folder: {root}"
    if settings.audio.min_sample_rate > settings.audio.max_sample_rate:
        yield "audio.min_sample_rate", "is greater than `max_sample_rate`"
    stream = settings.stream
    if stream.transaction_timeout_s <= 2 * stream.commit_interval_s:
        yield "stream.transaction_timeout_s", "must be more than twice `commit_interval_s`"
    if stream.max_pending_records < stream.batch_records:
        yield "stream.max_pending_records", "is less than `batch_records`: no batch would fill"


def _plan_faults(settings: Settings) -> Iterator[tuple[str, str]]:
    models, plans = settings.models, settings.plans
    names = ", ".join(models)
    for name, plan in plans.items():
        key = f"plans.{name}"
        if name in models:
            yield key, "a model has this name too; a plan needs a name of its own"
        given = [each for each in ("model", "ensemble", "tiers") if getattr(plan, each) is not None]
        if len(given) != 1:
            yield key, "give exactly one of `model`, `ensemble` and `tiers`"
        asked = [("model", plan.model)] if plan.model is not None else []
        asked += [("ensemble", member) for member in plan.ensemble or []]
        asked += [("fallback", member) for member in plan.fallback]
        asked += [("combine.weights", m) for m in (plan.combine.weights if plan.combine else {})]
        if plan.tiers is not None:
            asked.append(("tiers.screen", plan.tiers.screen))
        for part, model in asked:
            if model not in models:
                yield f"{key}.{part}", f"no model `{model}`; defined are: {names}"
        if plan.ensemble is not None and len(set(plan.ensemble)) < max(2, len(plan.ensemble)):
            yield f"{key}.ensemble", "name at least two models, each once"
        for tier in ("high_quality", "standard") if plan.tiers is not None else ():
            target = getattr(plan.tiers, tier)
            inner = plans.get(target)
            if target is not None and target not in models and inner is None:
                yield f"{key}.tiers.{tier}", f"no plan or model `{target}`"
            elif inner is not None and inner.tiers is not None:
                yield f"{key}.tiers.{tier}", f"`{target}` has tiers itself; name a plan without"
            elif inner is not None and inner.fallback:
                yield f"{key}.tiers.{tier}", f"`{target}` has a fallback; give it to `{name}`"


def _faulty_model(raw: Any) -> str:
    """Name of the first model that does not decode: msgspec's errors do not name a dict's key."""
    for name, model in raw["models"].items():
        try:
            msgspec.convert({name: model}, dict[Name, ModelSettings], strict=True)
        except msgspec.ValidationError:
            return str(name)
    return "..."


def _condition_faults(key: str, condition: Condition) -> Iterator[tuple[str, str]]:
    given = [test for test in TESTS if getattr(condition, test) is not None]
    if len(given) != 1:
        yield key, f"give exactly one of {', '.join(TESTS)}"
    if condition.field.startswith("audio.") and condition.field not in MEASURES:
        yield f"{key}.field", f"no measure `{condition.field}`; there are: {', '.join(MEASURES)}"
    if condition.matches is not None:
        try:
            re.compile(condition.matches)
        except re.error as error:
            yield f"{key}.matches", f"not a regular expression: {error}"


def _place(path: Path, node: yaml.Node | None, key: str) -> str:
    """`file:line: key` for a key path such as `models.general.replicas`; the line of its nearest
    parent where the key itself has none."""
    line = 1
    for part in re.findall(r"[^.\[\]]+", key):
        if isinstance(node, yaml.MappingNode):
            found = [(k, v) for k, v in node.value if k.value == part]
            if not found:
                break
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
            node = node.value[int(part)]
            line = node.start_mark.line + 1
    return f"{path}:{line}: {key}" if key else f"{path}:{line}"

"""Options of a request: of a call of the Router, and of a clip for an engine."""

from __future__ import annotations

import msgspec

from schemas.manifest import ManifestRecord


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """What waits in Kafka for a consumer group, and how its workers want to be scaled by it.

    Attributes:
        records: that wait in all partitions.
        arriving: records that were produced per second, lately.
        partitions: of the manifest topic.
        catch_up_s: `stream.catch_up_s` of the settings.
        records_per_worker: `stream.autoscaling.records_per_worker` of the settings.
    """

    records: int
    arriving: float
    partitions: int
    catch_up_s: float
    records_per_worker: int


class CallOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of a call of the Router, in addition to the settings and the records.

    Attributes:
        target: name of the plan or model; None lets the rules choose.
        words: whether transcripts carry words with times, even if the models' settings do not
            ask for them.
        interactive: whether somebody waits for the answer: it goes ahead of bulk work.
        settings: `settings_digest` of the settings that the caller means; a Router with other
            ones transcribes nothing. None takes any.
        max_no_speech_prob: as in the section `routing` of the settings, which it overrides.
        group: consumer group of the stream that the records are from.
        backlog: what waits for that group; told by a call now and then, without records.
        traces: ``traceparent`` of those records whose trace is sampled, by their places.
    """

    target: str | None = None
    words: bool = False
    interactive: bool = False
    settings: str | None = None
    max_no_speech_prob: float | None = None
    group: str | None = None
    backlog: Backlog | None = None
    traces: dict[int, str] | None = None


#: Options of a call that asks for nothing in particular.
DEFAULT_OPTIONS = CallOptions()


class ClipRequest(msgspec.Struct, frozen=True, kw_only=True):
    """How one clip is transcribed; travels with it from the Router to the engine.

    An engine honours what it can and ignores the rest.

    Attributes:
        words: whether the hypothesis carries words with times.
        phrases: phrases to bias recognition of this clip towards, in addition to the model's own.
            An engine that supports this reports in `Hypothesis.phrases` how many of them it used.
        interactive: whether somebody waits for the answer: the clip goes ahead of bulk work.
        language: code of the language that is spoken; None if the record does not have it.
        identify: whether the language is wanted, and no text. Such clips are never in a batch with
            others: the engine's `identify_languages` gets them.
        streamed: whether it is from a stream: models scale by what waits there, not by its calls.
        trace: ``traceparent`` of the call, if the record's trace is sampled.
    """

    words: bool = False
    phrases: tuple[str, ...] = ()
    interactive: bool = False
    language: str | None = None
    identify: bool = False
    streamed: bool = False
    trace: str | None = None

    @classmethod
    def of(cls, record: ManifestRecord, options: CallOptions, *, words: bool) -> ClipRequest:
        """Make the request for the clip of a record.

        Args:
            record: the record.
            options: of the call that the record is part of.
            words: whether this model's hypotheses must carry words.
        """
        return cls(
            words=words or options.words,
            phrases=tuple(record.phrases or ()),
            interactive=options.interactive,
            language=record.lang,
            streamed=options.group is not None,
        )


#: Request for a clip without particular options.
DEFAULT_REQUEST = ClipRequest()

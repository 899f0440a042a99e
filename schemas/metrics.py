"""The metrics event: what one commit of one worker transcribed, per model and domain.

A worker publishes its events in the transaction that publishes the transcripts they count, and
`chorus offsets skip` its own in the one that publishes the dead letters. So the
sum of all events that a `read_committed` reader sees is exact: nothing is counted twice or lost,
even if processes crash. Counts and seconds can be added up; rates follow from the sums.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType


class Latency(msgspec.Struct, kw_only=True, frozen=True):
    """Time from a record's timestamp in Kafka to its result, over the event's records.

    Attributes:
        p50_ms: median in milliseconds.
        p95_ms: 95th percentile in milliseconds.
        max_ms: longest in milliseconds.
        sum_ms: sum in milliseconds.
    """

    p50_ms: float
    p95_ms: float
    max_ms: float
    sum_ms: float


class ChangedMeasure(msgspec.Struct, kw_only=True, frozen=True):
    """A measure that has changed, as a ratio over many records.

    Attributes:
        name: of the measure, such as "wer", "confidence" or "snr_db".
        before: its value before the change.
        after: its value since.
        low: lower end of the 95% interval of ``after - before``.
        high: upper end of it.
        since: Unix time in seconds where the change probably began; None where messages have none.
    """

    name: str
    before: float
    after: float
    low: float
    high: float
    since: float | None = None


class QualityAlert(msgspec.Struct, kw_only=True, frozen=True):
    """What `chorus quality` says of a model that has changed.

    Attributes:
        id: the same whenever the same change is reported again.
        version: of the model; empty without one.
        against: the version that it is compared with; None for its own beginning.
        status: "worse", or "changed" where neither better nor worse can be said.
        cause: "model", "audio" or "version": what the change came with.
        measures: those that have changed.
    """

    id: str
    version: str
    against: str | None = None
    status: str
    cause: str
    measures: list[ChangedMeasure]


class MetricsEvent(msgspec.Struct, kw_only=True, frozen=True):
    """One interval of one worker, for one model and one domain.

    Attributes:
        worker: name of the worker's instance; `chorus offsets skip` where an operator has stepped
            over records.
        interval_start: Unix time in seconds of the previous commit (or of the start).
        interval_end: Unix time in seconds of this commit.
        model: name of the model; empty for records that never reached one.
        domain: the records' `domain`; empty where they had none.
        records: records transcribed.
        dead_letters: records dead-lettered.
        retries: extra attempts that the records of this event took.
        audio_seconds: seconds of audio transcribed.
        model_seconds: wall seconds the models spent on them.
        rtfx: `audio_seconds / model_seconds`; None where no model time was spent.
        latency: from Kafka timestamp to result, over the transcribed records that are not
            `untimed`; None where there are none.
        word_errors: summed over the records with a reference. Words heard where the reference is
            empty count; dead letters do not, since they are not transcribed.
        reference_words: summed over the same records.
        references: how many records had a (non-empty) reference.
        wer: `100 * word_errors / reference_words`, pooled, percent; None without references.
        untimed: how many of `records` are not in `latency`: their timestamp is missing, zero, more
            than 5 s in the future, or more than a year old.
        alert: a change of the model's quality, from `stream.quality` or `chorus quality --alert`.
            Such an event counts nothing: all its sums are 0, so that sums over the topic stay
            exact. Other events have no such key.
    """

    worker: str
    interval_start: float
    interval_end: float
    model: str
    domain: str
    records: int
    dead_letters: int
    retries: int
    audio_seconds: float
    model_seconds: float
    rtfx: float | None
    latency: Latency | None
    word_errors: int
    reference_words: int
    references: int
    wer: float | None
    untimed: int = 0
    alert: QualityAlert | UnsetType = UNSET

"""The metrics event: what one commit of one worker transcribed, per model and domain.

A worker publishes its events in the transaction that publishes the transcripts they count, and
`chorus offsets skip` its own in the one that publishes the dead letters. So the
sum of all events that a `read_committed` reader sees is exact: nothing is counted twice or lost,
even if processes crash. Counts and seconds can be added up; rates follow from the sums.
"""

from __future__ import annotations

import msgspec


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

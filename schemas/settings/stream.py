"""The section `stream`: how the stream worker works."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from schemas.settings.kafka import FromEnvironment
from schemas.settings.quality import QualitySettings, quality_faults
from schemas.settings.types import (
    Fault,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Probability,
    Strict,
    under,
)


class StreamAutoscaling(Strict):
    """Stream workers by what waits in Kafka, where `chorus deploy` runs them. See docs/scaling.md.

    Attributes:
        min_workers: fewest workers.
        max_workers: most workers; there are never more than the manifest topic has partitions.
        records_per_worker: records that wait per worker to aim at.
        upscale_delay_s: seconds that more must wait before workers are added.
        downscale_delay_s: seconds that less must wait before workers are removed: each change
            interrupts all workers for a moment.
    """

    min_workers: PositiveInt = 1
    max_workers: PositiveInt = 4
    records_per_worker: PositiveInt = 2000
    upscale_delay_s: NonNegativeFloat = 30.0
    downscale_delay_s: NonNegativeFloat = 600.0


class StatusSettings(Strict):
    """Where `chorus stream` serves `/live`, `/ready` and `/metrics`.

    Attributes:
        host: address to listen on; "0.0.0.0" for all, as probes of Kubernetes need it.
        port: port to listen on; 0 takes a free one.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 9464


class StreamSettings(Strict):
    """How the stream worker works.

    Attributes:
        guarantee: "exactly_once" commits results and offsets in one transaction;
            "at_least_once" commits offsets after the results are acknowledged.
        backend: URL of the HTTP API behind which the models are, for workers of `chorus stream`
            that have no Ray; unless given, the worker reaches the application through Ray.
        backend_key: API key for it, as `{env: NAME}`.
        status: a port of `chorus stream` for probes and Prometheus; none unless given.
        quality: transcripts are judged while the stream runs, and changes told; not unless given.
            `{}` is enough. See docs/quality.md.
        workers: stream workers that `chorus serve --worker` or `chorus deploy --worker` runs as a
            Serve app, unless `autoscaling` is given.
        autoscaling: number of those workers by what waits, instead of `workers`.
        catch_up_s: models with `autoscaling` get as many replicas as what waits and arrives needs,
            so that this many seconds later nothing waits any more.
        batch_records: records in one call of the Router.
        batches_in_flight: calls of the Router at once.
        max_pending_records: fetching pauses while this many records are not yet committed.
        max_pending_bytes: fetching pauses while record values of this many bytes are not yet
            committed.
        commit_interval_s: longest time from a result to its commit, in seconds.
        commit_idle_s: the same where all that was fetched is finished, so that a transcript does
            not wait for others. A worker that keeps up may then commit so often; a transaction
            takes some CPU-ms of worker and broker, and a marker in each topic.
        commit_records: a transaction is committed early when it holds this many results.
        transaction_timeout_s: the broker aborts a transaction that is open for more seconds;
            brokers allow 900 unless they are told otherwise.
        on_log_change: what to do where the log of a partition is not the one any more that its
            offset was committed for (records deleted unread, cut off, or a topic created again):
            "stop" the worker, or "resume" after the gap, with a warning. Never is a record
            repeated.
        session_timeout_s: the group drops a worker that is silent for more seconds; brokers allow
            6 to 1800 unless they are told otherwise.
        call_timeout_s: longest wait for one call of the Router, in seconds.
        drain_timeout_s: longest wait for work in flight on shutdown, in seconds.
        retry_initial_s: first pause of the exponential backoff, in seconds.
        retry_max_s: longest pause of the exponential backoff, in seconds.
        breaker_failures: consecutive failed calls that open the circuit breaker.
        suspect_attempts: how often a record may kill a replica alone before it is given up.
        max_dead_letter_ratio: share of dead letters among the last `dead_letter_window` records
            that stops the worker.
        dead_letter_window: records over which `max_dead_letter_ratio` is taken.
        max_consecutive_dead_letters: dead letters in a row that stop the worker.
    """

    guarantee: Literal["exactly_once", "at_least_once"] = "exactly_once"
    backend: str | None = None
    backend_key: FromEnvironment | None = None
    status: StatusSettings | None = None
    quality: QualitySettings | None = None
    workers: PositiveInt = 1
    autoscaling: StreamAutoscaling | None = None
    catch_up_s: PositiveFloat = 600.0
    batch_records: PositiveInt = 128
    batches_in_flight: PositiveInt = 4
    max_pending_records: PositiveInt = 1024
    max_pending_bytes: PositiveInt = 64 << 20
    commit_interval_s: PositiveFloat = 1.0
    commit_idle_s: NonNegativeFloat = 0.1
    commit_records: PositiveInt = 1000
    transaction_timeout_s: PositiveFloat = 30.0
    on_log_change: Literal["stop", "resume"] = "stop"
    session_timeout_s: PositiveFloat = 15.0
    call_timeout_s: PositiveFloat = 300.0
    drain_timeout_s: PositiveFloat = 20.0
    retry_initial_s: PositiveFloat = 0.5
    retry_max_s: PositiveFloat = 15.0
    breaker_failures: PositiveInt = 3
    suspect_attempts: PositiveInt = 3
    max_dead_letter_ratio: Probability = 0.5
    dead_letter_window: PositiveInt = 1000
    max_consecutive_dead_letters: PositiveInt = 200

    @property
    def scaling(self) -> StreamAutoscaling:
        """`autoscaling`, or what it would be."""
        return self.autoscaling or StreamAutoscaling()


_URL = re.compile(r"https?://[^/\s]+(/\S*)?")
#: A worker says twice a second that it is there.
_MIN_SESSION_S = 1.0
#: What brokers allow by default, in seconds: `group.min.session.timeout.ms`,
#: `group.max.session.timeout.ms` and `transaction.max.timeout.ms`.
_SESSION_S = (6.0, 1800.0)
_MAX_TRANSACTION_S = 900.0


def stream_faults(stream: StreamSettings) -> Iterator[Fault]:
    """What contradicts itself in the section."""
    if stream.transaction_timeout_s <= 2 * stream.commit_interval_s:
        yield "stream.transaction_timeout_s", "must be more than twice `commit_interval_s`"
    scaling = stream.scaling
    if scaling.min_workers > scaling.max_workers:
        yield "stream.autoscaling", "`min_workers` is greater than `max_workers`"
    if stream.backend is not None and not _URL.fullmatch(stream.backend):
        yield "stream.backend", f"`{stream.backend}` is no URL; write `http://HOST:8000`"
    if stream.backend_key is not None and stream.backend is None:
        yield "stream.backend_key", "is for `stream.backend`, which is not given"
    if stream.retry_initial_s > stream.retry_max_s:
        yield "stream.retry_initial_s", "is longer than `retry_max_s`"
    if stream.max_pending_records < stream.batch_records:
        yield "stream.max_pending_records", "is less than `batch_records`: no batch would fill"
    if stream.quality is not None:
        yield from under("stream.quality.", quality_faults(stream.quality))
    if stream.session_timeout_s < _MIN_SESSION_S:
        yield (
            "stream.session_timeout_s",
            f"must be at least {_MIN_SESSION_S:g} s: a worker says twice a second that it is there",
        )


def broker_limit_faults(stream: StreamSettings) -> Iterator[Fault]:
    """What brokers refuse that have Kafka's own limits; they may have others."""
    least, most = _SESSION_S
    if not least <= stream.session_timeout_s <= most:
        yield (
            "stream.session_timeout_s",
            f"brokers allow {least:g} to {most:g} s, unless their group.min.session.timeout.ms and "
            "group.max.session.timeout.ms say otherwise",
        )
    if stream.guarantee == "exactly_once" and stream.transaction_timeout_s > _MAX_TRANSACTION_S:
        yield (
            "stream.transaction_timeout_s",
            f"brokers allow at most {_MAX_TRANSACTION_S:g} s, unless their "
            "transaction.max.timeout.ms says otherwise",
        )

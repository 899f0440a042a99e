"""Quality looked at again and again: what has come since the last look is read, and all is judged.

What is kept is bounded: models and domains by the settings, versions and records by constants and
`stream.quality`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

from schemas.metrics import MetricsEvent
from schemas.settings import Settings
from schemas.settings.quality import QualitySettings, judged_domains
from schemas.versions import SchemaVersionError
from serve_app.system.logs import Told
from workers.kafka.protocols import Record
from workers.kafka.reader import TopicReader
from workers.quality.alerts import alerts, alerts_since, publish
from workers.quality.observations import Observer
from workers.quality.reading import UnreadableMessageError, transcript_of
from workers.quality.series import AllSeries
from workers.quality.verdict import Finding, Rules, judge

log = logging.getLogger(__name__)

#: Versions of a model in a domain that are kept.
_VERSIONS = 4
#: A change that was not seen for so many seconds is told again when it is back.
_FORGET_S = 86_400.0


class QualityJob:
    """The looks of one process, and the alerts that follow from them.

    Args:
        settings: checked settings with `stream.quality`.
        clock: Unix time in seconds.

    Raises:
        KafkaUnreachableError, SettingsError: as `workers.kafka.clients.make_consumer`.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._kafka = settings.kafka
        self._quality = settings.stream.quality or QualitySettings()
        self._models = list(settings.models)
        self._clock = clock
        self._since = clock() - self._quality.history_s
        self._reader = TopicReader(self._kafka, self._kafka.topics.transcripts, self._since)
        self._observer = Observer(judged_domains(self._quality, settings.routing))
        self._series = AllSeries(self._quality.max_records, _VERSIONS)
        self._alerts: dict[str, float] | None = None
        self._unread = Told()

    def look(self) -> list[Finding]:
        """Read what is new, judge everything, and tell of changes that are new.

        Blocks while it reads. After an error it may be called again.

        Raises:
            kafka.errors.KafkaError, ConnectionError: Kafka does not answer, or refuses.
            UnknownTopicError: a topic is missing.
        """
        for message in self._reader.unread():
            self._take(message)
        now = self._clock()
        rules = Rules(
            reference=self._quality.reference,
            error_rate=self._quality.error_rate,
            silent_s=self._quality.silent_after_s,
            now=now,
        )
        findings = judge(self._series.in_order(), rules, expected=self._models)
        self._tell(alerts(findings, now), now)
        return findings

    def _take(self, message: Record) -> None:
        if message.value is None:
            return
        try:
            timed = transcript_of(message)
        except (UnreadableMessageError, SchemaVersionError) as error:
            if self._unread.is_new(type(error).__name__):
                place = f"{message.topic}-{message.partition}-{message.offset}"
                log.warning("%s is left out: it is no transcript that can be read", place)
            return
        if timed.transcript.selected_model in self._models:
            self._series.add(self._observer.observe(*timed))

    def _tell(self, events: Iterable[MetricsEvent], now: float) -> None:
        """Write alerts that nobody has written, now or before this process."""
        found = {event.alert.id: event for event in events if event.alert}
        if self._alerts is None and found:
            self._alerts = dict.fromkeys(alerts_since(self._kafka, self._since), now)
        known = self._alerts or {}
        if new := [event for id_, event in found.items() if id_ not in known]:
            publish(self._kafka, new)
            log.warning("%d changes of quality were written to the metrics topic", len(new))
        seen = known | dict.fromkeys(found, now)
        self._alerts = {id_: last for id_, last in seen.items() if now - last < _FORGET_S}

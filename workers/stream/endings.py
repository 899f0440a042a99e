"""What ends a worker: the code that its process ends with, and what to do about it."""

from __future__ import annotations

from datetime import UTC, datetime

from kafka.errors import (
    FencedInstanceIdError,
    InvalidSessionTimeoutError,
    InvalidTimestampError,
    InvalidTransactionTimeoutError,
    KafkaError,
)

from schemas.settings import KafkaSettings, SettingsError, StreamSettings
from workers import exit_codes
from workers.kafka.clients import KafkaUnreachableError
from workers.kafka.errors import REFUSALS, UnreadableBatchError
from workers.stream.commit_cycle import DeadLetterLimitError
from workers.stream.start_positions import LogChangedError

#: Those whose message says what to do, and their codes.
_SAYS_ALL: dict[type[Exception], int] = {
    KafkaUnreachableError: exit_codes.UNREACHABLE,
    SettingsError: exit_codes.SETTINGS,
    DeadLetterLimitError: exit_codes.DEAD_LETTER_LIMIT,
    LogChangedError: exit_codes.LOG_CHANGED,
}
#: The exceptions that end a worker in an expected way.
ENDINGS = (*_SAYS_ALL, UnreadableBatchError, KafkaError)


def ending(
    error: Exception, kafka: KafkaSettings, stream: StreamSettings, instance: str
) -> tuple[int, str]:
    """The code of `workers.exit_codes` and the sentence for the log.

    Args:
        error: one of `ENDINGS`.
        kafka: section of the settings.
        stream: likewise.
        instance: name of the worker.
    """
    for kind, code in _SAYS_ALL.items():
        if isinstance(error, kind):
            return code, str(error)
    match error:
        case FencedInstanceIdError():
            return exit_codes.RESTART, (
                f"another worker runs as instance `{instance}` of group `{kafka.group}`; give each "
                "its own name"
            )
        case UnreadableBatchError():
            at = f"--partition {error.partition.partition} --offset {error.offset}"
            return exit_codes.SETTINGS, (
                f"{error}. Everything before it is committed. Mend the cause, or step over it with "
                f"`chorus offsets skip {at}`, which leaves dead letters, and start again"
            )
        case InvalidTimestampError():
            now = datetime.now(UTC).isoformat(timespec="seconds")
            return exit_codes.SETTINGS, (
                f"Kafka refuses the time of this machine's clock, {now} ({error}); correct the "
                "clock, or message.timestamp.after.max.ms and .before.max.ms of the output topics"
            )
    if isinstance(error, REFUSALS):
        return exit_codes.SETTINGS, _refusal(error, stream)
    said = f"Kafka failed: {error}; start the worker again when Kafka is back"
    return exit_codes.UNREACHABLE, said


def _refusal(error: Exception, stream: StreamSettings) -> str:
    match error:
        case InvalidSessionTimeoutError():
            return (
                f"stream.session_timeout_s: the broker refuses {stream.session_timeout_s:g} s; its "
                "group.min.session.timeout.ms and group.max.session.timeout.ms, by default 6 s and "
                "30 min, say what it allows"
            )
        case InvalidTransactionTimeoutError():
            return (
                "stream.transaction_timeout_s: the broker refuses "
                f"{stream.transaction_timeout_s:g} s; its transaction.max.timeout.ms, by default "
                "15 min, is the most that it allows"
            )
    return (
        f"Kafka refuses this worker: {error}; check `kafka.client` in the settings, the user's "
        "access rights and the broker's version"
    )

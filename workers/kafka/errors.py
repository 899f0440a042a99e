"""The errors of Kafka that do not go away by waiting."""

from __future__ import annotations

from kafka import TopicPartition
from kafka.errors import (
    AuthorizationError,
    FencedInstanceIdError,
    InvalidSessionTimeoutError,
    InvalidTimestampError,
    InvalidTransactionTimeoutError,
    KafkaError,
    SaslAuthenticationFailedError,
    UnsupportedVersionError,
)

#: Whatever goes wrong between the client and the brokers, for those that do not import the client.
ANY = KafkaError

#: The broker refuses this client for good: its rights, credentials, version, clock or time limits,
#: or because another member has its name.
REFUSALS = (
    AuthorizationError,
    SaslAuthenticationFailedError,
    FencedInstanceIdError,
    InvalidSessionTimeoutError,
    InvalidTimestampError,
    InvalidTransactionTimeoutError,
    UnsupportedVersionError,
)


class UnreadableBatchError(KafkaError):
    """A batch of messages in the log that cannot be taken apart; reading stands before it.

    Attributes:
        partition: whose log it is in.
        offset: of its first message that was not read.
        last_offset: of its last message.
        reason: what went wrong, and what helps if that is known.
    """

    def __init__(
        self, partition: TopicPartition, offset: int, last_offset: int, reason: str
    ) -> None:
        self.partition = partition
        self.offset = offset
        self.last_offset = last_offset
        self.reason = reason
        super().__init__(
            f"offsets {offset} to {last_offset} of topic {partition.topic}, partition "
            f"{partition.partition}, cannot be read: {reason}"
        )

    def __str__(self) -> str:
        return str(self.args[0])  # without the name of the class


def refusal_in(error: BaseException | None) -> Exception | None:
    """The refusal that `error` is, was raised from, or tells of; None where there is none.

    After the first error of a transaction, kafka-python raises others that hold it among their
    arguments.
    """
    return error_in(error, REFUSALS)


def error_in(error: BaseException | None, kinds: tuple[type[Exception], ...]) -> Exception | None:
    """As `refusal_in`, for errors of any `kinds`."""
    while error is not None:
        for each in (error, *error.args):
            if isinstance(each, Exception) and isinstance(each, kinds):
                return each
        error = error.__cause__
    return None

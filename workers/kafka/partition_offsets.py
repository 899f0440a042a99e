"""Where a consumer group is in a partition."""

from __future__ import annotations

import msgspec


class PartitionOffsets(msgspec.Struct, kw_only=True, frozen=True):
    """One partition of the manifest topic.

    Attributes:
        partition: its number.
        start: first offset that is in the log.
        end: offset after the last one that may be read.
        committed: the group's offset, of the next record to be done; None where there is none.
    """

    partition: int
    start: int
    end: int
    committed: int | None

    @property
    def lag(self) -> int:
        """Offsets that are still to be read; transaction markers count as well."""
        first = self.start if self.committed is None else max(self.committed, self.start)
        return max(0, self.end - first)

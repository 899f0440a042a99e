"""`python -m workers.kafka` prepares ahead of time what the broker needs to start at once."""

from __future__ import annotations

import sys

from workers.kafka.archive import make_archive
from workers.kafka.broker import BrokerError
from workers.kafka.jars import JarError, fetch_jars, read_lock
from workers.kafka.java import JavaError, find_java


def main() -> int:
    """Exit status 0 when all is there, 1 when something is missing, 130 on Ctrl-C."""
    try:
        java, jars = find_java(), fetch_jars()
        archived = make_archive(java, jars)
    except (JarError, JavaError, BrokerError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    start = "quick start" if archived else "plain start"
    print(
        f"Apache Kafka {read_lock().kafka} on Java {java.version} ({java.origin}), {start}: ready"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

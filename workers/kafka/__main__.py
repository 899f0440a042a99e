"""`python -m workers.kafka` gets ahead of time what the broker needs: its jars and a Java."""

from __future__ import annotations

import sys

from workers.kafka.jars import JarError, fetch_jars, read_lock
from workers.kafka.java import JavaError, find_java


def main() -> int:
    """Exit status 0 when all is there, 1 when something is missing, 130 on Ctrl-C."""
    try:
        java, jars = find_java(), fetch_jars()
    except (JarError, JavaError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(f"Apache Kafka {read_lock().kafka} ({len(jars)} jars), Java {java.version}: ready")
    return 0


if __name__ == "__main__":
    sys.exit(main())

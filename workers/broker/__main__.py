"""`python -m workers.broker`: fetch Kafka ahead of time, so that a broker starts quickly."""

from __future__ import annotations

import sys

from workers.broker.archive import make_archive
from workers.broker.broker import BrokerError
from workers.broker.jars import fetch_jars
from workers.broker.java import JavaError, find_java
from workers.broker.pins import JarError, read_lock


def main() -> int:
    """Fetch the jars, find a Java, and make the archive of classes.

    Returns:
        The exit code: 0 when everything is ready, 1 when something is missing, 130 on Ctrl-C.
    """
    try:
        java, jars = find_java(), fetch_jars()
        archived = make_archive(java, jars)
    except (JarError, JavaError, BrokerError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    start = "with" if archived else "without"
    print(
        f"ready: Apache Kafka {read_lock().kafka} on Java {java.version} ({java.origin}), "
        f"{start} an archive of classes for a quick start"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

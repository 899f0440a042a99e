"""`chorus broker`: a real Apache Kafka on this machine, with no set-up."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workers import exit_codes
from workers.cli.common import fail


def broker(
    port: Annotated[
        int | None, typer.Option(help="Port of the first broker; a free one without it.")
    ] = None,
    brokers: Annotated[int, typer.Option(min=1, max=9, help="How many brokers.")] = 1,
    data_dir: Annotated[
        Path | None, typer.Option(help="Keep the data here; thrown away without it.")
    ] = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="Write the address here as JSON when it is ready.")
    ] = None,
    fetch_only: Annotated[
        bool, typer.Option("--fetch-only", help="Fetch Kafka into the cache, then end.")
    ] = False,
) -> None:
    """Run Apache Kafka 4.4 on 127.0.0.1 until Ctrl-C. Its jars are fetched once, into a cache."""
    from workers.kafka.broker import BrokerError
    from workers.kafka.jars import JarError, fetch_jars
    from workers.kafka.java import JavaError
    from workers.kafka.run import run_broker

    try:
        if fetch_only:
            fetch_jars()
        else:
            run_broker(port, brokers, data_dir, ready_file)
    except (BrokerError, JarError, JavaError) as error:
        fail(str(error), exit_codes.FAILURE)

"""`chorus broker`: run Apache Kafka on this machine, without installing it first."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workers import exit_codes
from workers.cli.common import fail


def broker(
    port: Annotated[
        int | None, typer.Option(help="Port of the first broker. Default: any free port.")
    ] = None,
    brokers: Annotated[int, typer.Option(help="Number of brokers: 1, or 3 for replication.")] = 1,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Folder to keep the data in. Without it, data is deleted at the end."),
    ] = None,
    ready_file: Annotated[
        Path | None,
        typer.Option(help="Write the brokers' address to this file as JSON when they are ready."),
    ] = None,
    fetch_only: Annotated[
        bool,
        typer.Option(
            "--fetch-only", help="Fetch Kafka and prepare it to start quickly (20 s), then exit."
        ),
    ] = False,
) -> None:
    """Run Apache Kafka 4.4 on 127.0.0.1 until Ctrl-C. It is downloaded once, into a cache."""
    from workers.broker.broker import BrokerError
    from workers.broker.java import JavaError
    from workers.broker.pins import JarError
    from workers.broker.run import prepare_broker, run_broker

    if brokers not in (1, 3):
        fail(f"--brokers is {brokers}; a cluster has 1 or 3 brokers", exit_codes.SETTINGS)
    try:
        if fetch_only:
            prepare_broker()
        else:
            run_broker(port, brokers, data_dir, ready_file)
    except (BrokerError, JarError, JavaError) as error:
        fail(str(error), exit_codes.FAILURE)

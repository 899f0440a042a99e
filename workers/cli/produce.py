"""`chorus produce`: send the records of a manifest file to the manifest topic."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Annotated

import typer

from workers import exit_codes
from workers.cli.common import (
    DEFAULT_SETTINGS,
    JsonOption,
    ManifestArgument,
    SettingsOption,
    fail,
    fault_of,
    print_json,
)

#: Faults listed in an error message; the rest are counted.
MAX_LISTED = 20


def produce(
    manifests: ManifestArgument,
    settings_file: SettingsOption = DEFAULT_SETTINGS,
    topic: Annotated[
        str | None, typer.Option(help="Topic to send to. Default: the manifest topic.")
    ] = None,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Send the valid lines, leave out the others.")
    ] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="Send every line unchanged, without checking it.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Send the records of a manifest to the manifest topic, keyed by record id.

    If a line is invalid, nothing is sent and the faults are listed. Lines are sent as they are, but
    for those of a tarred data set, which name their archive then.
    """
    from schemas.settings import load_settings
    from workers.kafka.clients import make_producer
    from workers.kafka.topic_state import topic_states
    from workers.manifests.files import joined
    from workers.manifests.manifest_file import read_manifest
    from workers.manifests.shards import missing_archive, with_archive

    manifest = joined(manifests)
    settings = load_settings(settings_file, files=False)
    topic = topic or settings.kafka.topics.manifests
    try:
        faults = [] if raw else [line for line in read_manifest(manifest) if line.error]
    except OSError as error:
        fail(fault_of(error), exit_codes.SETTINGS)
    if faults and not skip_invalid:
        listed = [f"{line.file.name}:{line.number}: {line.error}" for line in faults[:MAX_LISTED]]
        if len(faults) > MAX_LISTED:
            listed.append(f"... and {len(faults) - MAX_LISTED} more")
        hint = "nothing was sent; correct these lines, or leave them out with --skip-invalid"
        fail("\n".join([*listed, hint]), exit_codes.SETTINGS)

    if topic_states(settings.kafka, [topic])[topic] is None:
        fail(
            f"there is no topic `{topic}`; `chorus topics` creates those of the settings",
            exit_codes.SETTINGS,
        )
    producer = make_producer(settings.kafka, linger_ms=20)
    sent = []
    missing: Counter[tuple[str, str]] = Counter()
    try:
        for line in read_manifest(manifest):
            if raw or line.record:
                key = line.record.id.encode() if line.record else None
                value = line.data if raw else with_archive(line)
                if not raw and (archive := missing_archive(line)) is not None:
                    missing[line.file.name, archive] += 1
                sent.append(producer.send(topic, key=key, value=value))
        producer.flush()
    except KeyboardInterrupt:
        there = sum(future.succeeded() for future in sent)
        print(
            f"interrupted; the broker has {there} records or a few more, and the same command "
            "sends all of them again",
            file=sys.stderr,
        )
        raise
    failed = [future for future in sent if future.failed()]
    producer.close()
    if failed:
        fail(
            f"{len(failed)} of {len(sent)} records were not accepted by the broker: "
            f"{failed[0].exception}",
            exit_codes.UNREACHABLE,
        )
    for (name, archive), count in missing.items():
        print(
            f"warning: {name}: there is no {archive} in its folder or the one above; its {count} "
            "records were sent as they are, and are looked up under `audio.roots`",
            file=sys.stderr,
        )
    if not sent and not faults:
        print(f"{manifest}: has no records", file=sys.stderr)
    if as_json:
        print_json({"sent": len(sent), "skipped": 0 if raw else len(faults), "topic": topic})
    else:
        skipped = f", {len(faults)} invalid lines left out" if faults else ""
        print(f"sent {len(sent)} records to {topic}{skipped}")

"""`chorus offsets`: where the stream workers are in the manifest topic, and moving them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from workers import exit_codes
from workers.cli.common import DEFAULT_SETTINGS, JsonOption, SettingsOption, fail, print_json

if TYPE_CHECKING:
    from workers.kafka.partition_offsets import PartitionOffsets

app = typer.Typer(
    help="Show how far the stream workers have come in the manifest topic, and move them.",
    no_args_is_help=True,
)


@app.command("list")
def list_offsets(
    settings_file: SettingsOption = DEFAULT_SETTINGS, as_json: JsonOption = False
) -> None:
    """List each partition: its offsets, the committed one, and the lag."""
    from schemas.settings import load_settings
    from workers.kafka.group_offsets import group_offsets

    found = group_offsets(load_settings(settings_file, files=False).kafka)
    if as_json:
        for each in found:
            print_json(_as_builtins(each))
        return
    print(f"{'partition':>9}  {'first':>10}  {'committed':>10}  {'end':>10}  {'lag':>10}")
    for each in found:
        columns = (each.start, "-" if each.committed is None else each.committed, each.end)
        print(f"{each.partition:>9}", *(f"{value:>10}" for value in (*columns, each.lag)), sep="  ")


@app.command("set")
def set_offsets(
    to: Annotated[
        str,
        typer.Option(
            help="`earliest`, `latest`, an offset, or a time such as 2026-11-29T08:00 (UTC if it "
            "has no zone): the first record since."
        ),
    ],
    partition: Annotated[
        list[int] | None,
        typer.Option(help="Only this partition; repeatable. Default: all of them."),
    ] = None,
    settings_file: SettingsOption = DEFAULT_SETTINGS,
    as_json: JsonOption = False,
) -> None:
    """Let the stream workers go on at a chosen place; they must not be running.

    Records before it that were not read are left out; records after it that were read are
    transcribed again.
    """
    from schemas.settings import load_settings
    from workers.kafka.group_offsets import (
        GroupActiveError,
        group_offsets,
        resolve,
        set_group_offsets,
    )

    settings = load_settings(settings_file, files=False)
    target = _target(to)
    found = {each.partition: each for each in group_offsets(settings.kafka)}
    if unknown := set(partition or ()) - found.keys():
        fail(
            f"--partition {min(unknown)}: {settings.kafka.topics.manifests} has partitions 0 to "
            f"{max(found)}",
            exit_codes.SETTINGS,
        )
    chosen = [found[number] for number in partition or found]
    if isinstance(target, int) and len(chosen) > 1:
        fail("an offset belongs to one partition: give --partition as well", exit_codes.SETTINGS)
    offsets = resolve(settings.kafka, chosen, target)
    try:
        set_group_offsets(settings.kafka, offsets, settings.stream.session_timeout_s + 5.0)
    except GroupActiveError as error:
        fail(str(error), exit_codes.FAILURE)
    for each in chosen:
        offset = offsets[each.partition]
        if as_json:
            print_json({**_as_builtins(each), "set_to": offset})
        else:
            print(f"partition {each.partition}: {_change(each, offset)}")


@app.command("skip")
def skip(
    partition: Annotated[int, typer.Option(min=0, help="Partition of the manifest topic.")],
    offset: Annotated[
        int, typer.Option(min=0, help="Offset of the record that the workers would read next.")
    ],
    settings_file: SettingsOption = DEFAULT_SETTINGS,
    as_json: JsonOption = False,
) -> None:
    """Step over one record that cannot be read or must not be transcribed; workers must not run.

    The record becomes a dead letter with the code `record_skipped`. One that cannot be read takes
    the rest of its batch with it; each offset of that leaves a dead letter without a value.
    """
    import msgspec

    from schemas.settings import load_settings
    from workers.kafka.group_offsets import GroupActiveError
    from workers.stream.stepping_over import step_over

    settings = load_settings(settings_file, files=False)
    try:
        skipped = step_over(
            settings.kafka, partition, offset, settings.stream.session_timeout_s + 5.0
        )
    except GroupActiveError as error:
        fail(str(error), exit_codes.FAILURE)
    if as_json:
        print_json(msgspec.to_builtins(skipped))
    elif skipped.readable:
        print(f"partition {partition}: stepped over offset {skipped.first}; its dead letter has it")
    else:
        print(
            f"partition {partition}: stepped over offsets {skipped.first} to {skipped.last}, which "
            "cannot be read; each has a dead letter"
        )


def _target(text: str) -> Literal["earliest", "latest"] | int | datetime:
    if text == "earliest":
        return "earliest"
    if text == "latest":
        return "latest"
    if text.isdecimal():
        return int(text)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        fail(
            f"--to {text}: neither `earliest`, `latest`, an offset, nor a time such as "
            "2026-11-29T08:00",
            exit_codes.SETTINGS,
        )
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _change(each: PartitionOffsets, offset: int) -> str:
    before = each.start if each.committed is None else each.committed
    if offset > before:
        effect = f"{offset - before} offsets are left out"
    elif offset < before:
        effect = f"{before - offset} offsets are read again"
    else:
        effect = "as before"
    was = "nothing was committed" if each.committed is None else f"was {each.committed}"
    return f"goes on at {offset} ({was}; {effect})"


def _as_builtins(each: PartitionOffsets) -> dict[str, int | None]:
    return {
        "partition": each.partition,
        "start": each.start,
        "end": each.end,
        "committed": each.committed,
        "lag": each.lag,
    }

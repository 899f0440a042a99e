"""`chorus tail`: print transcripts as they are committed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from workers.cli.common import DEFAULT_SETTINGS, JsonOption, SettingsOption
from workers.cli.tables import NARROW, RuleSummary, people_console

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, RenderableType
    from rich.text import Text

    from schemas.settings import Settings
    from schemas.transcript import Transcript

#: Least widths of the columns where the output is no terminal.
_PIPED = (16, 24, 4, 0)


def tail(
    settings_file: SettingsOption = DEFAULT_SETTINGS,
    from_beginning: Annotated[
        bool,
        typer.Option("--from-beginning", help="Print the transcripts already in the topic too."),
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Exit after this many transcripts.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(help="Exit after this many seconds without a transcript.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print transcripts as they are committed to the transcript topic, until Ctrl-C.

    Ends with a summary by rule. With --json, prints each transcript as it is in the topic.
    """
    from schemas.settings import load_settings

    settings = load_settings(settings_file, files=False)
    values = _values(settings, from_beginning, limit, timeout)
    if as_json:
        for value in values:
            print(value.decode(), flush=True)
        return
    _show(values, settings, people_console())


def _values(
    settings: Settings, from_beginning: bool, limit: int | None, timeout: float | None
) -> Iterator[bytes]:
    """The transcripts as they are in the topic."""
    from schemas.versions import check_version
    from workers.kafka.reader import read_topic

    found = 0
    last = time.monotonic()
    topic = settings.kafka.topics.transcripts
    for message in read_topic(settings.kafka, topic, from_beginning=from_beginning, follow=True):
        if message is not None and message.value is not None:
            check_version(message.headers, "transcript")
            yield message.value
            found += 1
            last = time.monotonic()
        if found == limit or (timeout is not None and time.monotonic() - last > timeout):
            return


def _show(values: Iterator[bytes], settings: Settings, console: Console) -> None:
    from schemas.transcript import decode_transcript

    summary = RuleSummary()
    try:
        for value in values:
            result = decode_transcript(value)
            console.print(transcript_row(result, console))
            target = result.plan or result.selected_model
            summary.add(result.rule, target, result.word_errors, result.reference_words)
    except KeyboardInterrupt:
        console.print()
        raise
    finally:
        if summary:
            console.print("", summary.table(settings, console), sep="\n")


def transcript_row(result: Transcript, console: Console) -> RenderableType:
    """A transcript in columns: id, plan or model with the rule, WER, text.

    The columns have the same width in every row. In a terminal what is too long for them is cut,
    and the text is broken between words, or stands below them where there is little room.
    """
    from rich.console import Group
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    made_by = Text.assemble((result.plan or result.selected_model, "cyan"), f" ({result.rule})")
    if result.fallback_from is not None:
        made_by.append(f" after {result.fallback_from}", "yellow")
    wer = "" if result.wer is None else f"{result.wer:.0f}%"
    cells = (
        Text(result.id, "dim"),
        made_by,
        Text(wer, "green" if result.wer == 0 else "yellow"),
        Text(result.pred_text),
    )
    if not console.is_terminal:
        return Text("  ").join(
            _padded(cell, width) for cell, width in zip(cells, _PIPED, strict=True)
        )
    narrow = console.width < NARROW
    row = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    row.add_column(width=console.width // 5 + 2, no_wrap=True, overflow="ellipsis")
    row.add_column(width=console.width // 4, no_wrap=True, overflow="ellipsis")
    row.add_column(width=4, justify="right")
    if narrow:
        row.add_row(*cells[:3])
        return Group(row, Padding(cells[3], (0, 0, 0, 2)))
    row.add_column()
    row.add_row(*cells)
    return row


def _padded(cell: Text, width: int) -> Text:
    cell.pad_right(max(0, width - cell.cell_len))
    return cell

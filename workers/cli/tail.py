"""`chorus tail`: transcripts as they are committed."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from workers.cli.common import DEFAULT_SETTINGS, JsonOption, SettingsOption


def tail(
    settings_file: SettingsOption = DEFAULT_SETTINGS,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Also what is there already.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="End after this many.")] = None,
    timeout: Annotated[
        float | None, typer.Option(help="End after so many seconds without a transcript.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print transcripts as they are committed, until Ctrl-C (or a limit)."""
    from rich.console import Console
    from rich.text import Text

    from schemas.settings import load_settings
    from schemas.transcript import decode_transcript
    from workers.topic_reader import read_topic

    settings = load_settings(settings_file)
    console = Console(highlight=False)
    shown = 0
    last = time.monotonic()
    topic = settings.kafka.topics.transcripts
    for message in read_topic(settings.kafka, topic, from_beginning=from_beginning, follow=True):
        if message is not None and message.value is not None:
            if as_json:
                print(message.value.decode(), flush=True)
            else:
                result = decode_transcript(message.value)
                line = Text.assemble(
                    (f"{result.id}  ", "dim"),
                    (f"{result.selected_model}", "cyan"),
                    (f" ({result.rule})  ", "dim"),
                    result.pred_text,
                )
                if result.wer is not None:
                    line.append(
                        f"  WER {result.wer:.0f}%", "green" if result.wer == 0 else "yellow"
                    )
                console.print(line, soft_wrap=True)
            shown += 1
            last = time.monotonic()
        if shown == limit or (timeout is not None and time.monotonic() - last > timeout):
            return

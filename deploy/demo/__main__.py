"""The demo: speech from a Kafka topic through the demo models to a topic of transcripts."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deploy.demo import FOLDER, SPEECH
from deploy.local import ChildDiedError, LocalStack
from schemas.dead_letter import DeadLetter, from_headers
from schemas.manifest import ManifestRecord, encode_manifest
from schemas.transcript import Transcript, decode_transcript
from workers.kafka.clients import make_producer
from workers.kafka.reader import read_topic
from workers.manifests.manifest_file import read_manifest

SETS = ("general", "medical", "legal", "calls", "noisy")
BROKEN = ManifestRecord(id="broken-on-purpose", audio_filepath="calls/no-such-file.flac")
#: Number of transcripts that are shown of each set.
SHOWN = 3
#: Most words of a transcript that is shown, so that it fits the terminal.
SHOWN_WORDS = 9
TIMEOUT_S = 300


class Demo:
    """The steps of the demo, timed.

    Args:
        console: where the demo is shown.

    Attributes:
        console: where the demo is shown.
        seconds: duration of each finished step.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str, title: str) -> Iterator[None]:
        """Run one step: a spinner while it runs, a line with its duration afterwards."""
        begin = time.monotonic()
        with self.console.status(f"{title} ..."):
            yield
        self.seconds[name] = round(time.monotonic() - begin, 1)
        self.console.print(f"  [dim]{self.seconds[name]:6.1f} s[/]  {title}")

    def run(self, stack: LocalStack) -> dict[str, Any]:
        """Run the demo, show its results, and return the figures of the last line."""
        records = demo_records()
        begin = time.monotonic()
        stack.start_serve()  # loads while Kafka starts
        with self.step("kafka", "Apache Kafka, a real broker on a free port"):
            stack.start_broker()
        stack.start_worker()  # waits for the models
        with self.step("serve", "Ray Serve: five domain models behind a Router"):
            stack.wait_for_serve()
        with self.step("stream", f"{len(records)} records through the stream, exactly once"):
            produce(stack, records)
            transcripts = collect(stack, len(records) - 1)
        self.seconds["total"] = round(time.monotonic() - begin, 1)
        letters = dead_letters(stack)
        self.console.print(
            transcript_table(transcripts), wer_table(transcripts), route_table(transcripts)
        )
        for letter in letters:
            self.console.print(
                f"Dead letter [bold]{letter.id}[/], {letter.failure}/{letter.code}: "
                f"{letter.message}\n"
            )
        return {
            "records": len(records),
            "transcribed": len(transcripts),
            "dead_lettered": len(letters),
            "models": {
                name: sorted({t.selected_model for t in found})
                for name, found in by_set(transcripts).items()
            },
            "routes": routes(transcripts),
            "wer": {name: pooled_wer(found) for name, found in by_set(transcripts).items()},
            "seconds": self.seconds,
        }


def demo_records() -> list[ManifestRecord]:
    """The shipped test utterances of every set, and one record that cannot be transcribed."""
    lines = [line for name in SETS for line in read_manifest(SPEECH / f"{name}.jsonl")]
    return [*(line.record for line in lines if line.record), BROKEN]


def produce(stack: LocalStack, records: list[ManifestRecord]) -> None:
    """Send `records` to the manifest topic."""
    kafka = stack.settings.kafka
    producer = make_producer(kafka, linger_ms=20)
    sent = [
        producer.send(kafka.topics.manifests, key=record.id.encode(), value=encode_manifest(record))
        for record in records
    ]
    for future in sent:
        future.get(30)
    producer.close()


def collect(stack: LocalStack, count: int) -> list[Transcript]:
    """Wait for the first `count` committed transcripts.

    Raises:
        ChildDiedError: a process of the stack ended by itself.
        TimeoutError: they did not arrive within `TIMEOUT_S` seconds.
    """
    kafka = stack.settings.kafka
    transcripts: list[Transcript] = []
    deadline = time.monotonic() + TIMEOUT_S
    for message in read_topic(kafka, kafka.topics.transcripts, follow=True):
        if message is not None:
            transcripts.append(decode_transcript(message.value or b""))
        if len(transcripts) == count:
            break
        stack.check_all()
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(transcripts)} of {count} transcripts in {TIMEOUT_S} s")
    return transcripts


def dead_letters(stack: LocalStack) -> list[DeadLetter]:
    """Read all dead letters so far."""
    kafka = stack.settings.kafka
    messages = read_topic(kafka, kafka.topics.dead_letters)
    return [from_headers(message.headers) for message in messages if message is not None]


def by_set(transcripts: list[Transcript]) -> dict[str, list[Transcript]]:
    """Group transcripts by the test set that their audio belongs to."""
    return {
        name: [t for t in transcripts if t.audio_filepath.split("/")[0] == name] for name in SETS
    }


def pooled_wer(transcripts: list[Transcript]) -> float | None:
    """Pooled WER of `transcripts` in percent; None without a reference word."""
    words = sum(t.reference_words or 0 for t in transcripts)
    errors = sum(t.word_errors or 0 for t in transcripts)
    return round(100 * errors / words, 1) if words else None


def transcript_table(transcripts: list[Transcript]) -> Table:
    """Table of a few transcripts of each set beside their references."""
    table = Table("set", "model (rule)", "reference", "transcript", title="Transcripts")
    for name, found in by_set(transcripts).items():
        short = [t for t in found if len((t.text or "").split()) <= SHOWN_WORDS]
        for result in sorted(short, key=lambda t: t.id)[:SHOWN]:
            style = "green" if result.word_errors == 0 else "yellow"
            table.add_row(
                name,
                f"{result.selected_model} ({result.rule})",
                result.text,
                Text(result.pred_text, style),
            )
        table.add_section()
    return table


def wer_table(transcripts: list[Transcript]) -> Table:
    """Table of the WER of each set, and the models that its records were sent to."""
    table = Table("set", "records", "models", "audio", "WER", title="Word error rate")
    for name, found in by_set(transcripts).items():
        models = sorted({t.selected_model for t in found})
        seconds = sum(t.duration for t in found)
        wer = pooled_wer(found)
        table.add_row(
            name,
            str(len(found)),
            ", ".join(models),
            f"{seconds:.0f} s",
            "-" if wer is None else f"{wer:.1f}%",
        )
    return table


def routes(transcripts: list[Transcript]) -> dict[str, dict[str, int]]:
    """Count the records that each rule sent to each model."""
    sent: dict[str, dict[str, int]] = {}
    for result in sorted(transcripts, key=lambda t: (t.rule, t.selected_model)):
        models = sent.setdefault(result.rule, {})
        models[result.selected_model] = models.get(result.selected_model, 0) + 1
    return sent


def route_table(transcripts: list[Transcript]) -> Table:
    """Table of the records that each rule sent to each model."""
    table = Table("rule", "model", "records", title="Routes")
    for rule, models in routes(transcripts).items():
        for model, records in models.items():
            table.add_row(rule, model, str(records))
    return table


def main() -> int:
    """Run the demo and return its exit code; everything that it started is stopped at the end."""
    console = Console(highlight=False)
    console.print("[bold]Chorus demo[/]: speech in a Kafka topic, transcripts in another\n")
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    settings = yaml.safe_load((FOLDER / "chorus.yaml").read_text())
    try:
        with LocalStack(settings, FOLDER) as stack:
            figures = Demo(console).run(stack)
            with console.status("stopping everything ..."):
                stack.stop()
    except KeyboardInterrupt:
        console.print("stopped; nothing is left running")
        return 130
    except (ChildDiedError, TimeoutError) as error:
        console.print(f"[red]the demo failed:[/] {error}", soft_wrap=True)
        return 1
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())

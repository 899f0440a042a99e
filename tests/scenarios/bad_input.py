"""Bad records and bad audio among good ones, in one stream with a real model.

Every good record must be transcribed, with the text that the engine has for its audio alone; every
bad one must be in the dead letters with its error code, its key, value and headers byte for byte;
no process may die and nothing may stall. Ends with code 1 if that is not so, and names the kinds.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import msgspec
from kafka.admin import ConfigResource, ConfigResourceType
from rich.console import Console

from deploy.demo import SPEECH
from deploy.local import ChildDiedError, LocalStack
from schemas.dead_letter import from_headers, original_headers
from schemas.failures import FailureClass
from schemas.manifest import decode_manifest, encode_manifest
from schemas.requests import DEFAULT_REQUEST
from schemas.settings import AudioSettings, Settings
from schemas.transcript import Transcript, decode_transcript
from serve_app.audio import AudioLoader
from serve_app.engines.base import Hypothesis
from serve_app.engines.load import load_engine
from tests.scenarios import audio_files as files
from tests.scenarios.audit import uncommitted
from tests.scenarios.bad_kinds import (
    MAX_MESSAGE_BYTES,
    MAX_SECONDS,
    Kind,
    NotHereError,
    Site,
    always,
    bad_kinds,
)
from tests.scenarios.good_kinds import good_kinds
from tests.scenarios.replicas import replicas
from tests.scenarios.settings import BASE, EngineName, fault_settings
from tests.scenarios.speech import many_records, shipped_records
from tests.scenarios.stream_watch import CommitWatch
from workers import exit_codes
from workers.kafka.clients import make_admin, make_producer
from workers.kafka.reader import read_topic
from workers.stream.output_messages import SOURCE_HEADER

Say = Callable[[str], None]
Header = tuple[str, bytes]

#: Without a new result for so long, something hangs.
_STALL_S = 120.0
#: Keys of a transcript that Chorus knows; every other one is the record's own.
_KNOWN = frozenset(field.name for field in msgspec.structs.fields(Transcript)) - {"extra"}
_HEADERS: Sequence[list[Header]] = (
    [],
    [("source", b"studio-7")],
    [("binary", bytes(range(256))), ("empty", b"")],
    [("twice", b"1"), ("twice", b"2"), ("name with spaces, ünïcödé", b"x")],
    [("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")],
)


class Sent(NamedTuple):
    """A message that is sent, and the kind that it is of."""

    kind: Kind
    key: bytes | None
    value: bytes | None
    headers: list[Header]


class Faults:
    """What is wrong, by kind."""

    def __init__(self) -> None:
        self._by_kind: dict[str, list[str]] = defaultdict(list)

    def add(self, kind: str, what: str) -> None:
        self._by_kind[kind].append(what)

    def lines(self) -> list[str]:
        """A line for each kind."""
        return [
            f"{kind}: {'; '.join(sorted(set(what)))}"
            for kind, what in sorted(self._by_kind.items())
        ]


# -- what is sent -------------------------------------------------------------------------------


def make_messages(folder: Path, good: int, copies: int, rng: random.Random, say: Say) -> list[Sent]:
    """Every kind `copies` times and `good` ordinary records, shuffled; makes their files.

    Args:
        folder: gets the folders `root` and `outside` of a `Site`.
    """
    kinds = [
        Kind(f"speech-{number}", always(encode_manifest(record)), None)
        for number, record in enumerate(many_records(good))
    ]
    odd = [*bad_kinds(), *good_kinds()]
    site = _make_site(folder)
    values = []
    for kind in [*kinds, *odd]:
        try:
            value = kind.value(site)
        except NotHereError as reason:
            say(f"left out: {kind.name} ({reason})")
            continue
        values += [(kind, value)] * (1 if kind in kinds else copies)
    rng.shuffle(values)
    return [
        Sent(kind, _key(number, value, rng), value, rng.choice(_HEADERS))
        for number, (kind, value) in enumerate(values)
    ]


def _make_site(folder: Path) -> Site:
    root, outside = folder / "root", folder / "outside"
    loader = AudioLoader(AudioSettings(roots=[str(SPEECH)]))
    speech = loader.load(shipped_records()[0].audio_filepath)
    for name in (root / "speech.wav", root / "odd & names" / "speech.wav", outside / "secret.wav"):
        name.parent.mkdir(parents=True, exist_ok=True)
        name.write_bytes(files.encode(speech))
    return Site(root, outside, speech)


def _key(number: int, value: bytes | None, rng: random.Random) -> bytes | None:
    """A key as producers give them: none, text, or bytes of their own.

    Never none with no value: Kafka's clients send no such message.
    """
    choice = rng.choice([None, f"key-{number}".encode(), bytes([0, 255, number % 256])])
    return choice if value is not None else choice or b"tombstone"


def send(settings: Settings, messages: Sequence[Sent]) -> dict[str, Sent]:
    """Produce `messages` in order; returns them by their ``topic-partition-offset``."""
    topic = settings.kafka.topics.manifests
    producer = make_producer(settings.kafka, linger_ms=20)
    futures = [
        producer.send(topic, key=message.key, value=message.value, headers=message.headers)
        for message in messages
    ]
    places = [future.get(60) for future in futures]
    producer.close()
    return {
        f"{topic}-{place.partition}-{place.offset}": message
        for place, message in zip(places, messages, strict=True)
    }


# -- what comes back ----------------------------------------------------------------------------


def check(settings: Settings, sent: dict[str, Sent], faults: Faults) -> dict[str, int]:
    """Compare the outputs with what was sent; returns how many there are of each sort."""
    topics = settings.kafka.topics
    found: dict[str, list[Any]] = defaultdict(list)
    transcripts = [m for m in read_topic(settings.kafka, topics.transcripts) if m is not None]
    letters = [m for m in read_topic(settings.kafka, topics.dead_letters) if m is not None]
    for message in transcripts:
        found[_source(message)].append(message)
    for message in letters:
        letter = from_headers(message.headers)
        found[f"{letter.topic}-{letter.partition}-{letter.offset}"].append(message)
    for place, item in sent.items():
        outputs = found.pop(place, [])
        if len(outputs) != 1:
            faults.add(item.kind.name, f"came out {len(outputs)} times")
        for output in outputs:
            if output.topic == topics.dead_letters:
                _check_dead_letter(item, output, place, faults)
            else:
                _check_transcript(item, output, place, faults)
    for place in found:
        faults.add("unknown", f"an output of {place}, which was never sent")
    bad = sum(item.kind.code is not None for item in sent.values())
    return {
        "bad": bad,
        "kinds": len({item.kind.name for item in sent.values() if item.kind.code is not None}),
        "dead_lettered": len(letters),
        "good": len(sent) - bad,
        "transcribed": len(transcripts),
    }


def _source(transcript: Any) -> str:
    """The ``topic-partition-offset`` of the record that it was made from."""
    source: bytes = dict(transcript.headers)[SOURCE_HEADER]
    return source.decode()


def _check_dead_letter(sent: Sent, output: Any, place: str, faults: Faults) -> None:
    name, letter = sent.kind.name, from_headers(output.headers)
    if letter.code != sent.kind.code:
        expected = sent.kind.code or "a transcript"
        faults.add(name, f"dead letter {letter.code} ({letter.message}), expected {expected}")
    if letter.failure is not FailureClass.POISON:
        faults.add(name, f"class {letter.failure}, expected poison")
    for part, before, after in (
        ("key", place.encode() if sent.key is None else sent.key, output.key),
        ("value", sent.value, output.value),
        ("headers", sent.headers, original_headers(output.headers)),
    ):
        if before != after:
            faults.add(name, f"its {part} is not the original")


def _check_transcript(sent: Sent, output: Any, place: str, faults: Faults) -> None:
    name, transcript = sent.kind.name, decode_transcript(output.value)
    if sent.kind.code is not None:
        faults.add(name, f"was transcribed, expected {sent.kind.code}")
        return
    keys = json.loads(sent.value or b"")
    if transcript.id != str(keys.get("id") or place):
        faults.add(name, "another id")
    if transcript.extra != {key: keys[key] for key in keys if key not in _KNOWN}:
        faults.add(name, "its extra keys are not as they came")


def check_texts(
    settings: Settings, sent: dict[str, Sent], sample: int, rng: random.Random, faults: Faults
) -> int:
    """Compare texts with what the engine says for the same audio alone; returns how many.

    Looks at every odd kind once and at `sample` ordinary records.
    """
    model = settings.models["general"]
    engine, loader = load_engine(model), AudioLoader(settings.audio)
    texts = {
        _source(message): decode_transcript(message.value or b"")
        for message in read_topic(settings.kafka, settings.kafka.topics.transcripts)
        if message is not None
    }
    good = {m.kind.name: place for place, m in sent.items() if m.kind.code is None}
    ordinary = [name for name in good if name.startswith("speech-")]
    chosen = good.keys() - ordinary | set(rng.sample(ordinary, min(sample, len(ordinary))))
    for name in sorted(chosen):
        place = good[name]
        if place not in texts:
            continue  # told already
        record = decode_manifest(sent[place].value or b"", default_id=place)
        clip = loader.load(record.audio_filepath, offset=record.offset, duration=record.duration)
        (alone,) = engine.transcribe([clip], [DEFAULT_REQUEST])
        expected = alone.text if isinstance(alone, Hypothesis) else f"rejected: {alone.message}"
        if texts[place].pred_text != expected:
            faults.add(name, f"text {texts[place].pred_text!r}, alone {expected!r}")
    return len(chosen)


# -- the run ------------------------------------------------------------------------------------


def scenario_settings(engine: EngineName, root: Path) -> dict[str, Any]:
    """One model; dead-letter limits that do not trip, since a third of the records is bad."""
    settings = fault_settings(engine, replicas=1)
    settings["audio"] = {"roots": [SPEECH.name, str(root)], "max_seconds": MAX_SECONDS}
    settings["kafka"] = {"client": {"max_request_size": MAX_MESSAGE_BYTES}}
    settings["stream"] = {
        "max_dead_letter_ratio": 1.0,
        "max_consecutive_dead_letters": 1_000_000,
    }
    return settings


def run_bad_input(
    good: int, copies: int, engine: EngineName, seed: int, say: Say
) -> tuple[dict[str, Any], list[str]]:
    """Send everything through a stack of its own and stop it.

    Args:
        good: ordinary records, besides the odd ones.
        copies: records of each bad and each odd kind.

    Returns:
        The figures, and what is wrong, a line for each kind. Where something is, the stack's folder
        is kept, and the last line names it.
    """
    rng = random.Random(seed)
    faults = Faults()
    with tempfile.TemporaryDirectory(prefix="chorus-bad-") as folder:
        root = Path(folder) / "root"
        root.mkdir()
        with LocalStack(scenario_settings(engine, root), BASE) as stack:
            stack.start_serve()
            messages = make_messages(Path(folder), good, copies, rng, say)
            say(f"{len(messages)} records made, of {len({m.kind.name for m in messages})} kinds")
            stack.start_broker()
            _allow_large_messages(stack.settings)
            stack.wait_for_serve()
            sent = send(stack.settings, messages)
            stack.start_worker()
            say(f"all sent; the stack is up: {engine} model, one worker")
            restarts = _watch(stack, len(sent), faults, say)
            figures = check(stack.settings, sent, faults)
            checked = check_texts(stack.settings, sent, 40, rng, faults)
            say(f"{checked} texts compared with the engine's for the same audio alone")
            _check_end(stack, Path(folder), faults)
            lines = faults.lines()
            if lines:
                stack.keep_folder = True
                lines.append(f"look at the *.log files in {stack.folder}")
    return {**figures, "restarts": restarts}, lines


def _allow_large_messages(settings: Settings) -> None:
    topics = settings.kafka.topics
    configs = {"max.message.bytes": str(MAX_MESSAGE_BYTES)}
    admin = make_admin(settings.kafka)
    admin.alter_configs(
        [
            ConfigResource(ConfigResourceType.TOPIC, topic, configs)
            for topic in (topics.manifests, topics.transcripts, topics.dead_letters)
        ]
    )
    admin.close()


def _watch(stack: LocalStack, count: int, faults: Faults, say: Say) -> int:
    """Wait until `count` results are committed, or nothing goes on; returns the restarts."""
    before = _pids(stack)
    watch = CommitWatch(stack.settings.kafka)
    last_progress = time.monotonic()
    said = seen = 0
    while seen < count:
        if watch.look(0.5) > seen:
            seen, last_progress = watch.count, time.monotonic()
        if seen - said >= count / 5:
            said = seen
            say(f"{seen} of {count} results")
        stack.check_all()
        if time.monotonic() - last_progress > _STALL_S:
            faults.add("stall", f"{seen} of {count} results, and no more in {_STALL_S:g} s")
            break
    watch.close()
    died = before - _pids(stack)
    for name, _ in died:
        faults.add("restart", f"{name} did not live through it")
    return len(died)


def _pids(stack: LocalStack) -> set[tuple[str, int]]:
    """The worker and every replica, by name and process."""
    found = {(name, p.pid) for name, each in replicas(stack).items() for p in each}
    return found | {(f"worker {name}", p.pid) for name, p in stack.workers.items()}


def _check_end(stack: LocalStack, folder: Path, faults: Faults) -> None:
    for name, code in stack.stop_workers().items():
        if code != exit_codes.OK:
            faults.add("shutdown", f"worker {name} stopped with code {code}")
    if left := uncommitted(stack.settings.kafka):
        faults.add("offsets", f"{left} records lie behind them")
    for log in ("serve", "worker-0"):
        if str(folder) in stack.log(log) or "secret.wav" in stack.log(log):
            faults.add("privacy", f"a path is in the log of {log}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the order, keys and headers")
    parser.add_argument("--good", type=int, default=300, help="ordinary records")
    parser.add_argument("--copies", type=int, default=2, help="records of each odd kind")
    parser.add_argument("--engine", choices=get_args(EngineName), default="nemo")
    given = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    begin = time.monotonic()
    try:
        figures, faults = run_bad_input(
            given.good,
            given.copies,
            given.engine,
            given.seed,
            lambda text: console.print(f"{time.monotonic() - begin:7.1f} s  {text}"),
        )
    except (ChildDiedError, TimeoutError) as error:
        console.print(f"[red]failed:[/] {error}")
        return 1
    for fault in faults:
        console.print(f"[red]wrong:[/] {fault}")
    print(json.dumps(figures))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

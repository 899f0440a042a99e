"""The shipped test set: what the demo and other tests count on."""

from __future__ import annotations

import pytest
import soundfile

from deploy.demo import SPEECH
from schemas.manifest import ManifestRecord, decode_manifest

SETS = ("general", "medical", "legal", "calls", "noisy")


def records(name: str) -> list[ManifestRecord]:
    lines = (SPEECH / f"{name}.jsonl").read_bytes().splitlines()
    return [decode_manifest(line, default_id="none") for line in lines]


@pytest.mark.parametrize("name", SETS)
def test_every_record_decodes_and_its_audio_is_there(name: str) -> None:
    found = records(name)
    assert len(found) == 40
    for record in found:
        assert record.text
        assert record.extra["voice"]
        assert record.audio_filepath.startswith(f"{name}/")
        info = soundfile.info(SPEECH / record.audio_filepath)
        assert info.duration == pytest.approx(record.duration, abs=0.01)


def test_hints_are_those_that_the_routes_go_by() -> None:
    assert {r.domain for r in records("medical")} == {"medical"}
    assert {r.domain for r in records("legal")} == {"legal"}
    assert {r.conditions for r in records("calls")} == {"telephony"}
    assert {r.conditions for r in records("noisy")} == {"noisy"}


@pytest.mark.parametrize("name", SETS)
def test_short_and_long_utterances_are_among_them(name: str) -> None:
    durations = [record.duration or 0 for record in records(name)]
    assert sum(seconds < 2 for seconds in durations) >= 3
    assert sum(15 <= seconds <= 30 for seconds in durations) >= 2


def test_ids_are_unique_over_all_sets() -> None:
    ids = [record.id for name in SETS for record in records(name)]
    assert len(set(ids)) == len(ids) == 40 * len(SETS)


def test_it_is_small() -> None:
    audio = [path for path in SPEECH.rglob("*") if path.suffix in (".flac", ".opus")]
    assert len(audio) == 40 * len(SETS)
    assert sum(path.stat().st_size for path in audio) < 8e6

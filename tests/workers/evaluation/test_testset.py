from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.manifest_text import ManifestFileError
from tests.workers.evaluation.scripted import write_set
from workers.evaluation.testset import read_test_set
from workers.manifests.speech import ManifestFaultsError


def test_a_set_knows_its_speech(manifest: Path) -> None:
    found = read_test_set(manifest)
    assert (found.name, len(found.utterances), found.left_out) == ("test", 13, 0)
    assert found.seconds == pytest.approx(sum(each.duration for each in found.utterances))
    assert set(found.speakers) == {"s0", "s1"}
    assert all(each.measures["audio.snr_db"] > 20 for each in found.utterances)
    assert read_test_set(manifest, "mine").name == "mine"


def test_audio_is_looked_up_beside_the_manifest_and_then_under_the_roots(tmp_path: Path) -> None:
    speech = write_set(tmp_path / "speech")
    beside = tmp_path / "other" / "set.jsonl"
    beside.parent.mkdir()
    beside.write_bytes(speech.read_bytes())
    (beside.parent / "0.wav").write_bytes((speech.parent / "1.wav").read_bytes())
    found = read_test_set(beside, roots=[str(speech.parent)])
    folders = [Path(each.path).parent for each in found.utterances]
    assert folders == [beside.parent] + [speech.parent] * 12


def test_missing_and_empty_references_are_told_apart(tmp_path: Path) -> None:
    extra = [
        {"id": "none", "audio_filepath": "0.wav"},
        {"id": "empty", "audio_filepath": "1.wav", "text": ""},
    ]
    found = read_test_set(write_set(tmp_path, extra))
    assert found.scored == [True] * 13 + [False, True]
    assert found.utterances[-1].text == ""


def test_all_faults_are_listed_and_can_be_left_out(tmp_path: Path) -> None:
    extra: list[dict[str, Any]] = [
        {"id": "gone", "audio_filepath": "gone.wav", "text": "a"},
        {"id": "u3", "audio_filepath": "3.wav", "text": "a"},
        {"audio_filepath": 5},
    ]
    manifest = write_set(tmp_path, extra)
    with pytest.raises(ManifestFaultsError) as error:
        read_test_set(manifest)
    reasons = {fault.line: fault.reason for fault in error.value.faults}
    assert sorted(reasons) == [14, 15, 16]
    assert "no such file" in reasons[14]
    assert "has the same id as line 4" in reasons[15]
    found = read_test_set(manifest, skip_faults=True)
    assert (len(found.utterances), found.left_out) == (13, 3)


def test_a_set_with_nothing_right_is_refused_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps({"audio_filepath": "gone.wav"}) + "\n")
    with pytest.raises(ManifestFaultsError) as error:
        read_test_set(path, skip_faults=True)
    assert error.value.nothing_left


def test_a_manifest_without_records_has_no_lines_to_leave_out(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text("\n \n")
    with pytest.raises(ManifestFileError, match=r"bad\.jsonl: has no records"):
        read_test_set(path, skip_faults=True)

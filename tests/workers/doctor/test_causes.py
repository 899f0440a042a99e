"""Every row of the table of causes, with a message that a user would see."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from deploy.demo import MODELS
from serve_app.engines.errors import EngineError
from serve_app.engines.nemo.archive import open_archive
from tests.scenarios.hostile_archives import KINDS, Site
from tests.serve_app.engines.nemo.archives import read_members
from tests.serve_app.engines.nemo.test_archive import FOR_NEMO, LARGE
from workers.doctor.causes import CAUSES, cause_of_message, failure_of

#: Messages as they are told, each with a word of the cause.
MESSAGES = {
    "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD is set: a model file could run any code; unset it": "run",
    "a.nemo: cannot be read as a .nemo archive: [Errno 28] No space left on device": "full",
    "ModuleNotFoundError: No module named 'nemo'": "not installed",
    "ImportError: /x/libtorch.so: undefined symbol: _ZN3c104": "do not fit",
    "engine 'my.engine:Mine': there is no module my; put it on the Python path": "path",
    "engine 'my.engine:Mine': importing my.engine fails: boom (my/engine.py:3)": "fault",
    "engine 'my.engine:Mine': my.engine has no class `Mine`; there are: Other": "another class",
    "engine 'my.engine:Mine': has no `transcribe` (see serve_app.engines.base.Engine)": "lacks",
    "engine 'my.engine:Mine': `transcribe` takes no requests (see the protocol)": "arguments",
    "engine 'my:Mine': its `sample_rate` is of the type float, not int (see it)": "lacks",
    "a.nemo: has SHA-256 00aa, but ff00 is expected; it is": "another",
    "a.nemo: model_config.yaml: its model class 'x.Y' is not supported; supported are": "serve",
    "a.nemo: cannot be loaded: Error(s) in loading state_dict: size mismatch for x": "belong",
    "a.nemo: cannot be loaded: its configuration asks for more parameters than its weights"
    " have": "belong",
    "a.nemo: cannot be loaded: length should be equal to the num_classes. Instead": "belong",
    "a.nemo: cannot be loaded: 'NoneType' object has no attribute 'feat_in'": "build",
    "UnpicklingError: the file holds something other than tensors (os.system)": "more than data",
    "RuntimeError: The NVIDIA driver on your system is too old (found version 11)": "GPU",
    "AssertionError: Torch not compiled with CUDA enabled": "GPU",
    "ModuleNotFoundError: No module named 'omegaconf'": "not installed",
    "ImportError: libcudart.so.12: cannot open shared object file: No such file": "do not fit",
    "engine 'my.engine:Mine': importing my.engine fails: No module named 'x' (a.py:1)": "lacks",
    "a.nemo: its weights are not a file of torch.save": "format",
    "a.nemo: its weights refer to 'os.system'; only tensors are allowed": "more than data",
    "a.nemo: model_config.yaml: encoder._target_ is 'x.Y', which is not allowed there": "version",
    "a.nemo: model_config.yaml: encoder.x: ConformerEncoder has no argument 'x'": "version",
    "a.nemo: member '../x' points outside the archive": "outside",
    "a.nemo: cannot be read as a .nemo archive: [Errno 2] No such file or directory": "moved",
    "a.nemo: cannot be read as a .nemo archive: [Errno 13] Permission denied: 'a'": "read by",
    "a.nemo: cannot be read as a .nemo archive: not a gzip file": "damaged",
    "a.nemo: its weights end too early": "damaged",
    "its trial took more memory than the 900 MiB that are free": "memory",
    "its trial ended with exit code -9": "memory",
    "the model fails on 4 x 30.0 s of noise: CUDA out of memory. Tried to allocate": "memory",
    "the GPU failed: CUDA error: an illegal memory access was encountered": "GPU",
    "RuntimeError: CUDA error: no kernel image is available for execution": "GPU",
    "its trial ended with exit code -11": "crashed",
    "its trial did not end within 900 s": "slow",
    "pretrained model 'a/b': cannot be downloaded: 401; is its hub reachable?": "hub",
    "NeMo knows no pretrained model 'stt_en' (one on Hugging Face is OWNER/MODEL)": "misspelt",
    "a.nemo: a model of class EncDecCTCModelBPE has no 'rnnt' head; set `head: ctc`": "decoder",
    "the model fails on noise: the model's output for this clip is not finite": "finite",
    "a.nemo: timestamps_asr_model_config.yaml: its model class is not EncDecCTCModelBPE": "second",
    "the engine my.engine:Mine rejects a second of noise: too loud": "run",
    "engine 'my.engine:Mine': ValueError: beam must be above 0": "constructor",
    "the speech of the trial: `audio_filepath`: x.wav: no such file": "clips",
}


@pytest.mark.parametrize("message", MESSAGES)
def test_a_known_message_has_its_cause_and_a_next_step(message: str) -> None:
    found = failure_of("load", message)
    assert MESSAGES[message] in found.cause
    assert found.next
    assert (found.state, found.said) == ("failure", message)


def test_every_row_has_a_message() -> None:
    assert {cause_of_message(message) for message in MESSAGES} == set(CAUSES)


def test_an_unknown_message_is_told_as_it_is() -> None:
    found = failure_of("load", "the moon is full")
    assert (found.said, found.cause) == ("the moon is full", "")
    assert "report" in found.next


def refusal(path: Path, sha256: str | None = None) -> str:
    with pytest.raises(EngineError) as refused, open_archive(path, sha256=sha256):
        pass
    return str(refused.value)


def test_what_the_reader_says_of_real_files_is_known(tmp_path: Path) -> None:
    garbage, empty = tmp_path / "garbage.nemo", tmp_path / "empty.nemo"
    garbage.write_bytes(b"no archive at all" * 100)
    with tarfile.open(empty, "w") as archive:
        archive.add(garbage, "notes.txt")
    for message, word in (
        (refusal(tmp_path / "gone.nemo"), "moved"),
        (refusal(garbage), "damaged"),
        (refusal(empty), "damaged"),
        (refusal(empty, "0" * 64), "another file"),
    ):
        assert word in failure_of("load", message).cause, message


@pytest.mark.slow
def test_every_refusal_of_a_hostile_file_is_known(tmp_path: Path) -> None:
    members = read_members(MODELS / "general.nemo")
    path = tmp_path / "evil.nemo"
    for kind in KINDS.keys() - FOR_NEMO - LARGE:
        path.write_bytes(KINDS[kind](Site(members, tmp_path / "mark", tmp_path)))
        assert cause_of_message(refusal(path)) is not None, kind
        path.unlink()

"""Folders and options that are refused before anything is loaded; no model is needed for them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.settings import ModelSettings
from serve_app.engines.errors import EngineError
from serve_app.engines.faster_whisper.folder import digest_of, model_files
from serve_app.engines.faster_whisper.options import compute_type, options_of

Change = Callable[[Path], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with all that is checked."""
    path = tmp_path / "whisper"
    path.mkdir()
    head = struct.pack("<IH", 6, 12) + b"WhisperSpec\0"
    (path / "model.bin").write_bytes(head + bytes(100))
    for name in ("config.json", "tokenizer.json", "preprocessor_config.json"):
        (path / name).write_text("{}")
    (path / "vocabulary.txt").write_text("a\n")
    return path


def test_only_the_files_of_the_model_are_taken(folder: Path) -> None:
    before = digest_of(model_files(folder))
    (folder / "README.md").write_text("about it")
    (folder / "modeling_whisper.py").write_text("raise SystemExit")
    files = model_files(folder)
    assert sorted(files) == [
        "config.json",
        "model.bin",
        "preprocessor_config.json",
        "tokenizer.json",
        "vocabulary.txt",
    ]
    assert digest_of(files) == before
    (folder / "vocabulary.txt").write_text("b\n")
    assert digest_of(model_files(folder)) != before


def sparse(name: str, size: int) -> Change:
    def change(folder: Path) -> None:
        with (folder / name).open("r+b") as file:
            file.truncate(size)

    return change


def written(name: str, content: str | bytes) -> Change:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.rename(f.parent / "elsewhere"), "whisper: no such folder"),
        (lambda f: (f / "model.bin").unlink(), r"model\.bin is missing"),
        (lambda f: (f / "tokenizer.json").unlink(), r"tokenizer\.json is missing"),
        (lambda f: (f / "vocabulary.txt").unlink(), r"vocabulary\.json or vocabulary\.txt is"),
        (sparse("config.json", 2 << 20), r"config\.json: it has 2\.0 MiB, and at most 1\.0 MiB"),
        (sparse("tokenizer.json", 20 << 20), r"tokenizer\.json: it has 20\.0 MiB"),
        (sparse("model.bin", 4), r"model\.bin: not the weights of a Whisper model"),
        (written("model.bin", b"PK\x03\x04" * 9), r"model\.bin: not the weights of a Whisper"),
        (
            written("model.bin", struct.pack("<IH", 6, 16) + b"TransformerSpec\0"),
            r"model\.bin: not the weights of a Whisper",
        ),
        (written("config.json", "{"), r"config\.json: Input data was truncated"),
        (written("tokenizer.json", "[]"), r"tokenizer\.json: Expected `object`"),
        (written("tokenizer.json", '{"a":' * 5000), r"tokenizer\.json"),
        (
            written("preprocessor_config.json", '{"chunk_length": 9000000}'),
            "chunk_length is 9000000; only 30 is supported",
        ),
    ],
)
def test_what_is_no_such_model_is_refused_in_a_sentence(
    folder: Path, change: Change, said: str
) -> None:
    model_files(folder)
    change(folder)
    with pytest.raises(EngineError, match=said) as caught:
        model_files(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"beam": 3}, r"options\.beam: no such key; did you mean `beam_size`\?"),
        ({"beam_size": 0}, r"options\.beam_size: .*>= 1"),
        ({"compute_type": "int4"}, r"options\.compute_type: no such value: 'int4'"),
        ({"task": "summarise"}, r"options\.task"),
        ({"temperatures": [0.2, 7]}, r"options\.temperatures"),
        ({"language": 3}, r"options\.language"),
    ],
)
def test_an_option_that_cannot_be_is_named(options: dict[str, object], said: str) -> None:
    with pytest.raises(EngineError, match=said):
        options_of(ModelSettings(engine="faster-whisper", path="x", options=options))


def test_a_key_of_another_engine_is_refused() -> None:
    with pytest.raises(EngineError, match="`head` is for hybrid models"):
        options_of(ModelSettings(engine="faster-whisper", path="x", head="ctc"))


def test_the_number_format_follows_the_device_unless_it_is_given() -> None:
    plain = ModelSettings(engine="faster-whisper", path="x")
    assert compute_type(options_of(plain), plain, "cpu") == "int8"
    assert compute_type(options_of(plain), plain, "cuda") == "float16"
    typed = ModelSettings(engine="faster-whisper", path="x", dtype="float32")
    assert compute_type(options_of(typed), typed, "cpu") == "float32"
    chosen = ModelSettings(
        engine="faster-whisper", path="x", dtype="float32", options={"compute_type": "int16"}
    )
    assert compute_type(options_of(chosen), chosen, "cpu") == "int16"

"""Hostile and broken folders: each is refused in words, and none of their code is run."""

from __future__ import annotations

import json
import pickle
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.settings import ModelSettings
from serve_app.engines.errors import EngineError
from serve_app.engines.load import load_engine
from serve_app.engines.transformers.folder import check_folder, wanted_files
from tests.serve_app.engines.transformers.conftest import FolderOf

Change = Callable[[Path], Any]


def changed(file: str, **values: Any) -> Change:
    def change(folder: Path) -> None:
        content = json.loads((folder / file).read_text()) | values
        (folder / file).write_text(json.dumps(content))

    return change


def written(file: str, content: str | bytes) -> Change:
    def change(folder: Path) -> None:
        (folder / file).write_bytes(content.encode() if isinstance(content, str) else content)

    return change


def without(*files: str) -> Change:
    def change(folder: Path) -> None:
        for each in files:
            (folder / each).unlink()

    return change


class _Bomb:
    """Makes a file where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = str(mark)

    def __reduce__(self) -> Any:
        return (open, (self._mark, "w"))


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(_Bomb(folder / "ran")))


def _index(*names: str) -> Change:
    def change(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder.parent / "outside.safetensors")
        shards = {f"tensor{index}": name for index, name in enumerate(names)}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))

    return change


def _header(content: bytes) -> Change:
    return written("model.safetensors", struct.pack("<Q", len(content)) + content)


HUGE = json.dumps({"model_type": "wav2vec2", "x": "y" * (1 << 20)})
CODE = {"AutoModel": "evil.Model"}
BAD: list[tuple[str, Change, str]] = [
    ("wav2vec2", _pickled, "pytorch_model.bin.*can run code"),
    ("wav2vec2", without("model.safetensors"), "has no model.safetensors"),
    ("wav2vec2", changed("config.json", auto_map=CODE), "config.json has `auto_map`"),
    ("wav2vec2", changed("tokenizer_config.json", auto_map=CODE), "tokenizer_config.json has"),
    ("wav2vec2", changed("preprocessor_config.json", auto_map=CODE), "preprocessor_config.json h"),
    (
        "whisper",
        changed("generation_config.json", nested=[{"auto_map": CODE}]),
        "generation_c.*has",
    ),
    ("wav2vec2", without("vocab.json"), "has no tokenizer: vocab.json"),
    ("whisper", without("tokenizer.json"), "has no tokenizer: tokenizer.json or vocab.json and m"),
    ("whisper", without("generation_config.json"), "no generation_config.json"),
    ("whisper", without("preprocessor_config.json"), "has no preprocessor_config.json"),
    ("wav2vec2", without("config.json"), "has no config.json"),
    ("wav2vec2", written("config.json", HUGE), "config.json is larger than 1 MiB"),
    ("wav2vec2", written("config.json", "[" * 100_000), "config.json is not a JSON object"),
    ("wav2vec2", written("config.json", "[]"), "config.json is not a JSON object"),
    ("wav2vec2", written("config.json", b"\xff\xfe"), "config.json is not a JSON object"),
    ("wav2vec2", changed("config.json", model_type="llama"), "`model_type` is 'llama'; served"),
    ("wav2vec2", changed("config.json", model_type=["whisper"]), "`model_type` is"),
    ("wav2vec2", changed("config.json", quantization_config={"a": 1}), "quantization_config"),
    ("wav2vec2", changed("config.json", num_hidden_layers=10**9), "`num_hidden_layers` is 1000000"),
    ("wav2vec2", changed("config.json", conv_dim=[1] * 1001), "`conv_dim` has more than 1000 i"),
    ("parakeet", changed("config.json", encoder_config={"model_type": "llama"}), "a model 'llama'"),
    ("wav2vec2", changed("config.json", hidden_size=1 << 20), "describes a model of"),
    ("wav2vec2", changed("config.json", hidden_size="many"), "config.json cannot be loaded"),
    ("whisper", changed("config.json", d_model=1 << 20), "describes a model of"),
    ("wav2vec2", changed("config.json", vocab_size=14), "another shape|blank|cannot be loaded"),
    ("wav2vec2", changed("tokenizer_config.json", tokenizer_class="Evil"), "tokenizer 'Evil'"),
    ("whisper", written("tokenizer.json", "{"), "the tokenizer cannot be loaded"),
    ("whisper", changed("generation_config.json", suppress_tokens=[10**6]), "has no token"),
    ("whisper", changed("generation_config.json", no_timestamps_token_id="x"), "Expected `int`"),
    ("whisper", changed("generation_config.json", alignment_heads=[[9, 0]]), "names head 0 of l"),
    ("whisper", changed("preprocessor_config.json", n_fft=10**9), "`n_fft` is 1000000000"),
    ("whisper", changed("preprocessor_config.json", chunk_length=20), "the features have 2000"),
    ("wav2vec2", _index("../outside.safetensors"), "'../outside.safetensors', which is no"),
    ("wav2vec2", _index("/etc/passwd"), "'/etc/passwd', which is no"),
    ("wav2vec2", _index("model.bin"), "'model.bin', which is no"),
    ("wav2vec2", _index("absent.safetensors"), "has no absent.safetensors, which"),
    ("wav2vec2", _index(*(f"{each}.safetensors" for each in range(101))), "more than 100 files"),
    ("wav2vec2", written("model.safetensors", b"short"), "no safetensors file"),
    ("wav2vec2", written("model.safetensors", b"\xff" * 64), "no safetensors file"),
    ("wav2vec2", _header(b'{"a": {"shape": [-1]}}'), "no safetensors file"),
    ("wav2vec2", _header(b"{}"), "describes a model of"),
]


@pytest.mark.parametrize(("kind", "change", "said"), BAD)
def test_a_bad_folder_is_refused(copy_of: FolderOf, kind: str, change: Change, said: str) -> None:
    folder = copy_of(kind)
    change(folder)
    with pytest.raises(EngineError, match=said) as refused:
        load_engine(ModelSettings(engine="transformers", path=str(folder), threads=1))
    assert str(folder) in str(refused.value)
    assert not (folder / "ran").exists()


def test_weights_of_another_model_are_refused(copy_of: FolderOf, folder_of: FolderOf) -> None:
    folder = copy_of("wav2vec2")
    other = folder_of("whisper") / "model.safetensors"
    (folder / "model.safetensors").write_bytes(other.read_bytes())
    with pytest.raises(EngineError, match=r"the weights lack|describes a model"):
        load_engine(ModelSettings(engine="transformers", path=str(folder), threads=1))


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="is not a folder with"):
        check_folder(tmp_path / "nowhere")


def test_other_files_are_neither_read_nor_part_of_the_model(copy_of: FolderOf) -> None:
    folder = copy_of("wav2vec2")
    before = check_folder(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(_Bomb(folder / "ran")))
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "evil/model"}')
    (folder / "modeling_evil.py").write_text("raise SystemExit")
    after = check_folder(folder)
    assert after.sha256() == before.sha256()
    assert set(after.files) == set(before.files)
    load_engine(ModelSettings(engine="transformers", path=str(folder), threads=1))
    assert not (folder / "ran").exists()


def test_settings_cannot_choose_how_attention_is_computed_nor_have_anything_fetched(
    copy_of: FolderOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for kind in ("whisper", "wav2vec2", "parakeet"):
        folder = copy_of(kind)
        changed(
            "config.json",
            attn_implementation="kernels-community/evil",
            _attn_implementation="kernels-community/evil",
            _name_or_path="evil/model",
        )(folder)
        engine: Any = load_engine(ModelSettings(engine="transformers", path=str(folder), threads=1))
        assert engine._head._loaded.model.config._attn_implementation == "sdpa"


def test_of_a_repository_the_files_of_one_format_are_wanted() -> None:
    other = ["README.md", "pytorch_model.bin", "config.json", "evil.py"]
    assert wanted_files([*other, "model.safetensors", "model.fp32.safetensors"]) == [
        "config.json",
        "model.safetensors",
    ]
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    index = "model.safetensors.index.json"
    assert wanted_files([*other, *shards, "model.fp32-00001-of-00002.safetensors", index]) == [
        "config.json",
        *shards,
        index,
    ]

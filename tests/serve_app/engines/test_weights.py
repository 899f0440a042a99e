from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from serve_app.engines.errors import EngineError
from serve_app.engines.weights import check_weights, load_weights


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "weights.ckpt"


def save(file: Path, value: Any) -> Path:
    torch.save(value, file)
    return file


def zipped(file: Path, pickled: bytes, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
    return file


def test_tensors_of_every_kind(file: Path) -> None:
    kinds = ["float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8"]
    given: dict[str, torch.Tensor] = {
        kind: torch.arange(4).to(getattr(torch, kind)) for kind in [*kinds, "uint8", "bool"]
    }
    given["part"] = torch.arange(100)[10:20:2]
    given["parameter"] = torch.nn.Parameter(torch.ones(2))
    check_weights(save(file, given))
    found = load_weights(file)
    assert found.keys() == given.keys()
    for name, each in given.items():
        assert found[name].equal(each)
        assert found[name].dtype == each.dtype


def test_the_state_of_a_model(file: Path) -> None:
    model = torch.nn.Sequential(torch.nn.LSTM(3, 4), torch.nn.BatchNorm1d(4))
    check_weights(save(file, model.state_dict()))
    assert load_weights(file).keys() == model.state_dict().keys()


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        raise_it = "raise AssertionError('the code of a file ran')"
        return exec, (raise_it,)


@pytest.mark.parametrize(
    ("value", "protocol", "reason"),
    [
        ({"x": Evil()}, 2, "refer to '(builtins|__builtin__) exec'"),
        ({"x": Evil()}, 0, "refer to '__builtin__ exec'"),
        ({"x": Evil()}, 4, "in a way that torch.save does not"),
        ({"x": {1, 2}}, 2, "only tensors"),
        ({"x": complex(1)}, 2, "only tensors"),
    ],
)
def test_a_file_that_names_anything_else(
    file: Path, value: Any, protocol: int, reason: str
) -> None:
    with pytest.raises(EngineError, match=reason):
        check_weights(zipped(file, pickle.dumps(value, protocol=protocol)))


def test_what_a_library_calls_harmless_is_not_taken_for_it(file: Path) -> None:
    save(file, {"x": Path("/etc/passwd")})
    with (
        torch.serialization.safe_globals([type(Path()), Path]),
        pytest.raises(EngineError, match="only tensors"),
    ):
        check_weights(file)


def test_other_formats(file: Path) -> None:
    torch.save({}, file, _use_new_zipfile_serialization=False)
    with pytest.raises(EngineError, match="older than torch"):
        check_weights(file)
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), str(file))
    with pytest.raises(EngineError, match="TorchScript"):
        check_weights(file)
    with pytest.raises(EngineError, match="compressed"):
        check_weights(zipped(file, pickle.dumps({}, protocol=2), zipfile.ZIP_DEFLATED))


def test_damaged_files(file: Path) -> None:
    whole = save(file, {"x": torch.ones(1000)}).read_bytes()
    for data in (b"", whole[:100], whole[: len(whole) // 2], whole[:-30] + bytes(30)):
        file.write_bytes(data)
        with pytest.raises(EngineError, match="weights"):
            check_weights(file)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, protocol=2))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("archive/data.pkl", pickle.dumps({}, protocol=2))
    file.write_bytes(buffer.getvalue())
    with pytest.raises(EngineError, match="two entries"):
        check_weights(file)


@pytest.mark.parametrize("value", [[torch.ones(1)], {"x": 1}, {1: torch.ones(1)}, torch.ones(1)])
def test_what_is_not_tensors_by_name(file: Path, value: Any) -> None:
    with pytest.raises(EngineError, match="tensors by name"):
        load_weights(save(file, value))


def test_the_environment_loosens_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    zipped(file, pickle.dumps({"x": Evil()}, protocol=2))
    with pytest.raises(EngineError, match="cannot be read"):
        load_weights(file)

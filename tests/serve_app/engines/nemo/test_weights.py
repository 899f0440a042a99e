from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from serve_app.engines.errors import EngineError
from serve_app.engines.nemo.weights import load_weights, read_list


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
    given["whole"] = torch.arange(100)
    given["turned"] = given["whole"].view(10, 10).t()
    given["wide"] = torch.ones(1).expand(5)
    given["none"] = torch.ones(0, 3)
    given["single"] = torch.tensor(2.5)
    read_list(save(file, given))
    found = load_weights(file)
    assert found.keys() == given.keys()
    for name, each in given.items():
        assert found[name].equal(each)
        assert found[name].dtype == each.dtype
        assert found[name].shape == each.shape


def test_the_state_of_a_model(file: Path) -> None:
    model = torch.nn.Sequential(torch.nn.LSTM(3, 4), torch.nn.BatchNorm1d(4))
    read_list(save(file, model.state_dict()))
    assert load_weights(file).keys() == model.state_dict().keys()


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        raise_it = "raise AssertionError('the code of a file ran')"
        return exec, (raise_it,)


@pytest.mark.parametrize(
    ("value", "protocol", "reason"),
    [
        ({"x": Evil()}, 2, r"refer to '(builtins|__builtin__)\.exec'"),
        ({"x": Evil()}, 0, r"refer to '__builtin__\.exec'"),
        ({"x": Evil()}, 4, r"refer to 'builtins\.exec'"),
        ({"x": {1, 2}}, 2, "only tensors"),
        ({"x": complex(1)}, 2, "only tensors"),
    ],
)
def test_a_file_that_names_anything_else(
    file: Path, value: Any, protocol: int, reason: str
) -> None:
    with pytest.raises(EngineError, match=reason):
        read_list(zipped(file, pickle.dumps(value, protocol=protocol)))


def test_what_a_library_calls_harmless_is_not_taken_for_it(file: Path) -> None:
    save(file, {"x": Path("/etc/passwd")})
    with (
        torch.serialization.safe_globals([type(Path()), Path]),
        pytest.raises(EngineError, match="only tensors"),
    ):
        read_list(file)


def test_other_formats(file: Path) -> None:
    torch.save({}, file, _use_new_zipfile_serialization=False)
    with pytest.raises(EngineError, match="older than torch"):
        read_list(file)
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), str(file))
    with pytest.raises(EngineError, match=r"TorchScript|not a file of torch\.save|compressed"):
        read_list(file)
    with pytest.raises(EngineError, match="compressed"):
        read_list(zipped(file, pickle.dumps({}, protocol=2), zipfile.ZIP_DEFLATED))


def test_damaged_files(file: Path) -> None:
    whole = save(file, {"x": torch.ones(1000)}).read_bytes()
    for data in (b"", whole[:100], whole[: len(whole) // 2], whole[:-30] + bytes(30)):
        file.write_bytes(data)
        with pytest.raises(EngineError, match="weights"):
            read_list(file)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, protocol=2))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("archive/data.pkl", pickle.dumps({}, protocol=2))
    file.write_bytes(buffer.getvalue())
    with pytest.raises(EngineError, match="two entries"):
        read_list(file)


@pytest.mark.parametrize("value", [[torch.ones(1)], {"x": 1}, {1: torch.ones(1)}, torch.ones(1)])
def test_what_is_not_tensors_by_name(file: Path, value: Any) -> None:
    with pytest.raises(EngineError, match="mapping of names to tensors"):
        read_list(save(file, value))


def test_an_older_file_in_front_is_refused(file: Path) -> None:
    """`torch.load` would read the part in front: its tensors are memory that nobody has filled."""
    older = io.BytesIO()
    torch.save({"x": torch.zeros(3)}, older, _use_new_zipfile_serialization=False)
    file.write_bytes(older.getvalue() + save(file, {"x": torch.ones(3)}).read_bytes())
    assert torch.load(file)["x"].equal(torch.zeros(3)), "torch reads it in another way"
    with pytest.raises(EngineError, match="older than torch"):
        read_list(file)


def test_a_name_that_differs_in_case_is_another_one(file: Path) -> None:
    """Torch's reader takes the first of them."""
    save(file, {"x": torch.ones(3)})
    evil = pickle.dumps({"x": Evil()}, protocol=2)
    with zipfile.ZipFile(file) as archive:
        held = {each.filename: archive.read(each) for each in archive.infolist()}
    (name,) = (each for each in held if each.endswith("data.pkl"))
    with zipfile.ZipFile(file, "w") as archive:
        for each, data in {name.upper(): evil, **held}.items():
            archive.writestr(each, data)
    assert load_weights(file)["x"].equal(torch.ones(3))


@pytest.mark.parametrize(
    ("size", "stride", "offset", "numel"),
    [
        ((5,), (1,), 0, 4),
        ((4,), (1,), 1, 4),
        ((2, 2), (3, 1), 0, 4),
        ((4,), (1,), 0, 5),
        ((4,), (1,), 0, 3),
        ((-1,), (1,), 0, 4),
        ((4,), (-1,), 3, 4),
        ((4,), (1, 1), 0, 4),
        ((True,), (1,), 0, 4),
        ((1 << 62,), (0,), 0, 4),
        ((4,), (1,), 0.0, 4),
        ((1,) * 17, (1,) * 17, 0, 4),
    ],
)
def test_tensors_beyond_the_data_are_refused(
    file: Path, size: Any, stride: Any, offset: Any, numel: Any
) -> None:
    class Tensor:
        def __reduce__(self) -> tuple[Any, ...]:
            storage = Storage()
            return torch._utils._rebuild_tensor_v2, (storage, offset, size, stride, False, {})

    class Storage:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            kind = ("storage", torch.FloatStorage, "0", "cpu", numel)
            return kind if isinstance(value, Storage) else None

    pickled = io.BytesIO()
    Pickler(pickled, protocol=2).dump({"x": Tensor()})
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickled.getvalue())
        archive.writestr("archive/data/0", bytes(16))
    with pytest.raises(EngineError, match="weights"):
        read_list(file)


def test_state_is_given_to_nothing(file: Path) -> None:
    """BUILD could else change the functions of the reader itself."""
    target = b"ctorch._utils\n_rebuild_tensor_v2\n"
    zipped(file, b"\x80\x02" + target + b"}U\x08__name__U\x04evilsb.")
    with pytest.raises(EngineError, match="list of its weights is damaged"):
        read_list(file)


def test_one_array_for_two_kinds(file: Path) -> None:
    data = torch.arange(4, dtype=torch.float32)
    save(file, {"x": data, "y": torch.arange(4, dtype=torch.int32)})
    with zipfile.ZipFile(file) as archive:
        held = {each.filename: archive.read(each) for each in archive.infolist()}
    (name,) = (each for each in held if each.endswith("data.pkl"))
    held[name] = held[name].replace(b"X\x01\x00\x00\x001", b"X\x01\x00\x00\x000")
    with zipfile.ZipFile(file, "w") as archive:
        for each, content in held.items():
            archive.writestr(each, content)
    with pytest.raises(EngineError, match="two element types"):
        read_list(file)


def test_entries_that_overlap(file: Path) -> None:
    """A small file could else be read again and again, and fill the memory."""
    save(file, {str(number): torch.ones(10_000) for number in range(10)})
    whole = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        places = [each.header_offset for each in archive.infolist() if "/data/" in each.filename]
        directory = archive.start_dir
    # all entries at the place of the first, and the others' data cut out
    tail = whole[directory:]
    for place in places[1:]:
        tail = tail.replace(place.to_bytes(4, "little"), places[0].to_bytes(4, "little"))
    end = tail.rindex(b"PK\x05\x06")
    tail[end + 16 : end + 20] = places[1].to_bytes(4, "little")
    file.write_bytes(whole[: places[1]] + tail)
    with pytest.raises(EngineError, match="claim more data"):
        read_list(file)


def test_a_small_list_that_asks_for_much_memory_does_not_get_it(file: Path) -> None:
    hungry = b"\x80\x02}r" + (0xFFFFFFFF).to_bytes(4, "little") + b"."
    assert read_list(zipped(file, hungry)) == {}
    with pytest.raises(EngineError, match="too large"):
        read_list(zipped(file, b"\x80\x02" + b"}" * (5 << 20) + b"."))


@pytest.mark.slow
def test_a_directory_without_end(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(40_000):
            archive.writestr(f"archive/data/{'x' * 100}{number}", b"")
    with pytest.raises(EngineError, match="directory of its weights is too large"):
        read_list(file)


def test_the_environment_loosens_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    zipped(file, pickle.dumps({"x": Evil()}, protocol=2))
    with pytest.raises(EngineError, match="only tensors"):
        load_weights(file)

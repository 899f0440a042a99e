"""Take `.nemo` files apart and put them together again, as a test or an attacker wants them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml

CONFIG = "./model_config.yaml"
WEIGHTS = "./model_weights.ckpt"
#: Those of the second model in the archive of a multitask one, which times its words.
TIMES_CONFIG = "./timestamps_asr_model_config.yaml"
TIMES_WEIGHTS = "./timestamps_asr_model_weights.ckpt"

#: How an archive is written: plain or compressed.
TarMode = Literal["w", "w:gz"]


def read_members(path: Path) -> dict[str, bytes]:
    """What the files in an archive hold, by their names."""
    with tarfile.open(path) as archive:
        readers = {each.name: archive.extractfile(each) for each in archive if each.isreg()}
        return {name: reader.read() for name, reader in readers.items() if reader is not None}


def member(
    name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, **fields: Any
) -> tuple[tarfile.TarInfo, bytes]:
    """A header and what follows it; `fields` of the header may be anything."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def tar_of(members: Iterable[tuple[tarfile.TarInfo, bytes]], mode: TarMode = "w") -> bytes:
    """The bytes of an archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def plain_tar(members: Mapping[str, bytes], mode: TarMode = "w") -> bytes:
    """The bytes of an archive of regular files."""
    return tar_of((member(name, data) for name, data in members.items()), mode)


def with_config(
    members: Mapping[str, bytes], change: Callable[[dict[str, Any]], Any], name: str = CONFIG
) -> dict[str, bytes]:
    """`members` with a changed configuration; `change` works on it in place."""
    config = yaml.load(members[name], yaml.CSafeLoader)
    change(config)
    return {**members, name: yaml.dump(config, Dumper=yaml.CSafeDumper).encode()}

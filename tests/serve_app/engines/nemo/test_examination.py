"""A glance at a `.nemo` file, before anything is loaded."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.demo import MODELS
from serve_app.engines.errors import EngineError
from serve_app.engines.nemo.examination import examine
from tests.serve_app.engines.nemo.archives import plain_tar, read_members

GENERAL = MODELS / "general.nemo"


@pytest.fixture(scope="module")
def members() -> dict[str, bytes]:
    return read_members(GENERAL)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_model(tmp_path: Path, members: dict[str, bytes], compressed: bool) -> None:
    data = plain_tar(members)
    (tmp_path / "a.nemo").write_bytes(gzip.compress(data, 1) if compressed else data)
    examine(tmp_path / "a.nemo")


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("model_config.yaml", "has no model_config.yaml"),
        ("model_weights.ckpt", "has no model_weights.ckpt"),
        ("tokenizer.model", "model_config.yaml: tokenizer.model_path names"),
    ],
)
def test_a_part_that_is_missing(
    tmp_path: Path, members: dict[str, bytes], missing: str, message: str
) -> None:
    left = {name: data for name, data in members.items() if not name.endswith(missing)}
    assert len(left) == len(members) - 1
    (tmp_path / "a.nemo").write_bytes(plain_tar(left))
    with pytest.raises(EngineError, match=message) as caught:
        examine(tmp_path / "a.nemo")
    assert str(caught.value).startswith(f"{tmp_path / 'a.nemo'}: ")


def test_it_needs_no_torch() -> None:
    code = (
        "import sys; from pathlib import Path; "
        "from serve_app.engines.nemo.examination import examine; "
        f"examine(Path({str(GENERAL)!r})); "
        "sys.exit(' '.join({'torch', 'nemo'} & sys.modules.keys()) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

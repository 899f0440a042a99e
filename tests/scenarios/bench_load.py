"""What checking a model file costs: our way to load one against NeMo's own `restore_from`.

Both in one process and in turn, with a shipped model and with one of the size of FastConformer-L
(random weights). NeMo's way is timed with the digest that the settings may ask for, as ours
computes it in any case.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deploy.demo import MODELS
from serve_app.engines.nemo.archive import load_model, open_archive
from serve_app.engines.nemo.imports import import_nemo, without_librosa
from serve_app.system.files import sha256_of
from tests.serve_app.engines.nemo.tiny_models import config_of, train_tokenizer

_TURNS = 7


def by_nemo(path: Path) -> Any:
    from nemo.collections.asr.models import EncDecCTCModelBPE

    sha256_of(path)
    return EncDecCTCModelBPE.restore_from(str(path), map_location="cpu")


def by_us(path: Path) -> Any:
    with open_archive(path) as archive:
        return load_model(archive)


def seconds(load: Callable[[Path], Any], path: Path) -> float:
    begin = time.perf_counter()
    with without_librosa():
        load(path)
    return time.perf_counter() - begin


def make_large(folder: Path) -> Path:
    """A model of some 110 million parameters."""
    from nemo.collections.asr import models
    from omegaconf import OmegaConf

    _, config = config_of("ctc_bpe", train_tokenizer(folder / "tokenizer"))
    large = {"n_layers": 17, "d_model": 512, "n_heads": 8, "ff_expansion_factor": 4}
    config["encoder"] = config["encoder"] | large | {"subsampling_conv_channels": 256}
    config["decoder"]["feat_in"] = 512
    path = folder / "large.nemo"
    models.EncDecCTCModelBPE(cfg=OmegaConf.create(config)).save_to(str(path))
    return path


def measure(path: Path) -> dict[str, float]:
    """Medians over the turns, in seconds; and how much longer ours takes."""
    for load in (by_nemo, by_us):  # what the first call sets up is no part of it
        seconds(load, path)
    turns = [(seconds(by_nemo, path), seconds(by_us, path)) for _ in range(_TURNS)]
    nemo, ours = (statistics.median(each) for each in zip(*turns, strict=True))
    more = statistics.median(ours - nemo for nemo, ours in turns)
    return {
        "megabytes": round(path.stat().st_size / 1e6, 1),
        "nemo_s": round(nemo, 3),
        "ours_s": round(ours, 3),
        "more_s": round(more, 3),
        "ratio": round(ours / nemo, 2),
    }


def main() -> int:
    import_nemo()
    with tempfile.TemporaryDirectory() as folder:
        figures = {
            "shipped": measure(MODELS / "general.nemo"),
            "large": measure(make_large(Path(folder))),
        }
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())

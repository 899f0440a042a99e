"""What can be seen of a `.nemo` file at a glance: whether it can be a model that is served.

It takes milliseconds, and needs neither NeMo nor PyTorch.
"""

from __future__ import annotations

from pathlib import Path

from serve_app.engines.errors import EngineError
from serve_app.engines.nemo.configuration import parse_config, safe_config
from serve_app.engines.nemo.tokenizers import tokenizer_files
from serve_app.engines.nemo.unpacking import glance

#: Largest configuration; most of it is the vocabulary.
MAX_CONFIG_BYTES = 16 << 20
#: Names of the configuration and of the weights in an archive.
CONFIG, WEIGHTS = "model_config.yaml", "model_weights.ckpt"


def examine(path: Path) -> None:
    """Check the list of contents and the configuration of a `.nemo` file.

    Its weights and its tokenizer are not read. Of a compressed one what is behind its configuration
    is not looked at either.

    Raises:
        EngineError: it cannot be served; the message names the file and says why.
        OSError: it cannot be read.
    """
    try:
        text, names = glance(path, CONFIG, MAX_CONFIG_BYTES)
        if names is not None and WEIGHTS not in names:
            raise EngineError(f"has no {WEIGHTS}; it is not a NeMo model")
        _check_config(text, names)
    except EngineError as error:
        raise EngineError(f"{path}: {' '.join(str(error).split())}") from None


def _check_config(text: bytes, names: set[str] | None) -> None:
    try:
        config = parse_config(text.decode())
        safe_config(config)
        if names is not None:
            tokenizer_files(config, {name: Path(name) for name in names})
    except UnicodeDecodeError:
        raise EngineError(f"{CONFIG} is not UTF-8") from None
    except EngineError as error:
        raise EngineError(f"{CONFIG}: {error}") from None

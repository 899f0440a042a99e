"""Pretrained NeMo models: their names, and their files. Importing this module is cheap."""

from __future__ import annotations

import re
from pathlib import Path

from schemas.decoding import nearest
from serve_app.engines.errors import EngineError

#: A name on Hugging Face: an owner and a model.
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def pretrained_fault(name: str) -> str | None:
    """Why there can be no pretrained NeMo model `name`; None if there may be one.

    A name without "/" is one of NVIDIA's catalogue, all of which NeMo knows: importing it blocks
    for seconds. What is on Hugging Face is not asked.

    Raises:
        ModuleNotFoundError: NeMo is not installed.
    """
    if "/" in name:
        if _HUB_NAME.fullmatch(name):
            return None
        return f"{name!r} cannot be the name of a model on Hugging Face: it is OWNER/MODEL"
    from serve_app.engines.nemo.imports import import_nemo  # which imports numpy

    import_nemo()
    from nemo.collections.asr.models import ASRModel

    known = set()
    for each in ASRModel.list_available_models():
        known |= {each.pretrained_model_name, *(each.aliases or ())}
    if name in known:
        return None
    return (
        f"NeMo knows no pretrained model {name!r} (one on Hugging Face is named OWNER/MODEL, a "
        f"file by `path`); {nearest(name, sorted(known))}"
    )


def pretrained_file(name: str) -> Path:
    """The file of a pretrained model in NeMo's cache; downloaded first if it is not there. Blocks.

    Args:
        name: of NVIDIA's catalogue, such as ``stt_en_fastconformer_ctc_large``; or ``OWNER/MODEL``
            of the Hugging Face hub.

    Raises:
        EngineError: there is no such model, or it cannot be downloaded.
    """
    if reason := pretrained_fault(name):
        raise EngineError(reason)
    from serve_app.engines.nemo.imports import import_nemo

    import_nemo()
    from nemo.collections.asr.models import ASRModel

    try:
        return Path(ASRModel.from_pretrained(name, return_model_file=True))
    except Exception as error:  # NeMo and the hubs' clients have no class of their own for it
        raise EngineError(
            f"pretrained model {name!r}: cannot be downloaded: {error}; is its hub reachable?"
        ) from error

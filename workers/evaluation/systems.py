"""What can be measured: a model, a function of one's own, a plan (`plan_system`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from schemas.failures import ErrorCode
from schemas.settings import ModelSettings
from serve_app.digest import sha256_of
from serve_app.engines.base import Clip, Engine, Hypothesis, Rejection
from serve_app.engines.errors import EngineError
from serve_app.engines.load import load_engine
from workers.speech import SAMPLE_RATE


class SystemInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured.

    Attributes:
        name: as it is shown.
        type: "custom" (a model file), "pretrained" (from a hub) or "function".
        domain: what it is for, where its card says so.
        sha256: of the model file; empty where there is none.
        device: "cpu" or "cuda".
        load_seconds: from the file to a model that is ready.
    """

    name: str
    type: str
    domain: str = "general"
    sha256: str = ""
    device: str = "cpu"
    load_seconds: float = 0.0


class System(Protocol):
    """Something that turns speech into text, under a name.

    Attributes:
        name: unique among those that are compared.
        identity: JSON-ready; what makes its output what it is. Finished work is only taken up again
            by a system with the same one.
    """

    name: str

    @property
    def identity(self) -> object: ...

    def load(self) -> tuple[Engine, SystemInfo]:
        """The engine, ready. Blocks for seconds.

        Raises:
            EngineError: it cannot be loaded.
        """
        ...


class ModelSystem:
    """A model by its settings."""

    def __init__(self, name: str, settings: ModelSettings, *, domain: str = "general") -> None:
        self.name = name
        self.settings = settings
        self.domain = domain

    @property
    def identity(self) -> object:
        path = self.settings.path
        options = msgspec.to_builtins(self.settings) | {"path": None}
        return {"model": sha256_of(Path(path)) if path else None, "options": options}

    def load(self) -> tuple[Engine, SystemInfo]:
        begin = time.perf_counter()
        engine = load_engine(self.settings)
        info = SystemInfo(
            name=self.name,
            type="pretrained" if self.settings.pretrained else "custom",
            domain=self.domain,
            sha256=engine.sha256,
            device=engine.device,
            load_seconds=round(time.perf_counter() - begin, 3),
        )
        return engine, info


class FunctionSystem:
    """A function of one's own: a list of clips in, their texts out, in order.

    Args:
        transcribe: takes float32 mono clips, [samples] each; may raise, which fails all of them.
        sample_rate: hertz that the clips shall have.
        version: change it when the function does, so that old results are not taken for its own.
    """

    def __init__(
        self,
        name: str,
        transcribe: Callable[[list[Clip]], Sequence[str]],
        *,
        sample_rate: int = SAMPLE_RATE,
        version: str = "",
    ) -> None:
        self.name = name
        self.sample_rate = sample_rate
        self.sha256 = ""
        self.device = "cpu"
        self._transcribe = transcribe
        self._version = version

    @property
    def identity(self) -> object:
        return {"function": self.name, "version": self._version, "rate": self.sample_rate}

    def load(self) -> tuple[Engine, SystemInfo]:
        return self, SystemInfo(name=self.name, type="function")

    def transcribe(
        self, clips: Sequence[Clip], *, words: bool = False
    ) -> list[Hypothesis | Rejection]:
        """See `Engine`."""
        try:
            texts = list(self._transcribe(list(clips)))
        except Exception as error:
            reason = f"{self.name} raised {type(error).__name__}"
            rejected = Rejection(code=ErrorCode.MODEL_REJECTED, message=reason)
            return [rejected] * len(clips)
        if len(texts) != len(clips):
            raise EngineError(f"{self.name} gave {len(texts)} texts for {len(clips)} clips")
        return [Hypothesis(text=text) for text in texts]

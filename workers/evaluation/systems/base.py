"""Systems that can be measured: a model, or a Python function; for plans see `plans`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from schemas.failures import ErrorCode
from schemas.requests import ClipRequest
from schemas.settings import ModelSettings
from schemas.text_rules import TextRules, compile_text_rules
from serve_app.audio.clip import SAMPLE_RATE, Clip
from serve_app.engines.base import Engine, Hypothesis, Rejection
from serve_app.engines.calling import call_isolated
from serve_app.engines.errors import EngineError
from serve_app.engines.load import load_engine
from serve_app.registry.identity import model_identity
from serve_app.routing.writing import Write


class SystemInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Description of a measured system.

    Attributes:
        name: display name.
        type: "custom" (a model file), "pretrained" (from a hub), "function" or "plan".
        domain: what it is for, as its model card says.
        sha256: digest of the model file; empty if there is none.
        device: "cpu" or "cuda".
        load_seconds: time that loading it took.
        text_rules: names of the text rules of the settings that its texts are written by.
    """

    name: str
    type: str
    domain: str = "general"
    sha256: str = ""
    device: str = "cpu"
    load_seconds: float = 0.0
    text_rules: list[str] = []


class System(Protocol):
    """Something that turns speech into text.

    Attributes:
        name: display name, unique among the systems that are compared.
    """

    name: str

    @property
    def identity(self) -> object:
        """Everything that determines the output, as JSON-compatible data.

        Intermediate results are only reused by a system with the same identity.
        """
        ...

    def load(self) -> tuple[Engine, SystemInfo]:
        """Load the engine. Blocks for seconds.

        Raises:
            EngineError: the engine cannot be loaded.
        """
        ...


class ModelSystem:
    """A model that is described by its settings.

    Args:
        name: display name.
        settings: the model.
        domain: what it is for.
        rules: the text rules that `settings` names. Texts are measured as they are served: written
            by these rules.
    """

    def __init__(
        self,
        name: str,
        settings: ModelSettings,
        *,
        domain: str = "general",
        rules: TextRules | None = None,
    ) -> None:
        self.name = name
        self.settings = settings
        self.domain = domain
        self.rules = rules

    @property
    def identity(self) -> object:
        """The model file's digest, all settings but its path, and its text rules, see `System`."""
        identity = model_identity(self.settings)
        identity["options"] |= {"text_rules": None}
        return identity | ({"rules": msgspec.to_builtins(self.rules)} if self.rules else {})

    def load(self) -> tuple[Engine, SystemInfo]:
        """Load the engine.

        Raises:
            EngineError: the engine cannot be loaded.
        """
        begin = time.perf_counter()
        engine = load_engine(self.settings)
        info = SystemInfo(
            name=self.name,
            type="pretrained" if self.settings.pretrained else "custom",
            domain=self.domain,
            sha256=engine.sha256,
            device=engine.device,
            load_seconds=round(time.perf_counter() - begin, 3),
            text_rules=[self.settings.text_rules or "rules"] if self.rules else [],
        )
        if self.rules is not None:
            engine = WrittenEngine(engine, compile_text_rules(self.rules))
        return engine, info


class WrittenEngine:
    """An engine whose texts are written by text rules, as the Router writes them.

    Words, which rules do not change, stay as they were heard.

    Args:
        engine: the engine.
        write: applies the rules.
    """

    def __init__(self, engine: Engine, write: Write) -> None:
        self.sample_rate = engine.sample_rate
        self.sha256 = engine.sha256
        self.device = engine.device
        self._engine = engine
        self._write = write

    def transcribe(
        self, clips: Sequence[Clip], requests: Sequence[ClipRequest]
    ) -> list[Hypothesis | Rejection]:
        """Call the engine; see `serve_app.engines.base.Engine`."""
        return [
            msgspec.structs.replace(each, text=self._write(each.text))
            if isinstance(each, Hypothesis)
            else each
            for each in call_isolated(self._engine, clips, requests)
        ]


class FunctionSystem:
    """A Python function that takes a list of clips and returns their texts, in order.

    Args:
        name: display name.
        transcribe: takes float32 mono clips, [samples] each; if it raises, all of them fail.
        sample_rate: sample rate that the function expects, in hertz.
        version: change it with the function, so that earlier intermediate results are not reused.
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
        """The function's name, version and sample rate, see `System`."""
        return {"function": self.name, "version": self._version, "rate": self.sample_rate}

    def load(self) -> tuple[Engine, SystemInfo]:
        """Return itself as the engine; there is nothing to load."""
        return self, SystemInfo(name=self.name, type="function")

    def transcribe(
        self, clips: Sequence[Clip], requests: Sequence[ClipRequest]
    ) -> list[Hypothesis | Rejection]:
        """Call the function; see `serve_app.engines.base.Engine`.

        Raises:
            EngineError: the function returned another number of texts than clips.
        """
        try:
            texts = list(self._transcribe(list(clips)))
        except Exception as error:
            reason = f"{self.name} raised {type(error).__name__}"
            rejected = Rejection(code=ErrorCode.MODEL_FAULT, message=reason)
            return [rejected] * len(clips)
        if len(texts) != len(clips):
            raise EngineError(f"{self.name} returned {len(texts)} texts for {len(clips)} clips")
        return [Hypothesis(text=text) for text in texts]

"""What can be measured: a model file, a model of the settings, or a function of one's own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from schemas.failures import ErrorCode
from schemas.model_card import ModelCard
from schemas.settings import ModelSettings
from serve_app.digest import sha256_of
from serve_app.engines.base import Clip, Engine, Hypothesis, Rejection
from serve_app.engines.errors import EngineError
from serve_app.engines.load import load_engine
from workers.finetune.versions import CARD, MODEL, read_card
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


#: What a caller may name: a system, or a path of a `.nemo` file or of a version's folder.
Named = System | str | Path


def as_systems(
    named: Sequence[Named], settings: Mapping[str, ModelSettings] | None = None
) -> list[System]:
    """The systems that `named` means.

    A text is ``path`` or ``name=path``, of a `.nemo` file or of a folder that holds `model.nemo`
    (what `chorus finetune` makes), or a name in `settings`. A file's name without its ending, and
    a version's model, are the names of those that bring none.

    Raises:
        ValueError: there is no such model, or two have one name; the message says what to do.
    """
    found = [
        _by_text(str(each), settings or {}) if isinstance(each, str | Path) else each
        for each in named
    ]
    if not found:
        raise ValueError("no model is given")
    names = [each.name for each in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two models are called {', '.join(twice)}; name them: NAME=PATH")
    return found


def _by_text(text: str, settings: Mapping[str, ModelSettings]) -> System:
    name, equals, rest = text.partition("=")
    source = rest if equals else text
    if source in settings:
        return ModelSystem(name, settings[source], domain=source)
    path = Path(source)
    if path.is_dir():
        given = name if equals else _version_name(path)
        card = path / CARD
        path = path / MODEL
    else:
        given = name if equals else path.stem
        card = path.with_suffix(".json")
    if not path.is_file():
        known = f"; the settings have {', '.join(settings)}" if settings else ""
        raise ValueError(f"{source}: no such model file, nor a folder with a {MODEL}{known}")
    alone = ModelSettings(path=str(path.absolute()), gpu_fraction=1.0)
    return ModelSystem(given, alone, domain=_domain(card))


def _version_name(folder: Path) -> str:
    """`medical:2` for .../medical/2."""
    folder = folder.absolute()
    return f"{folder.parent.name}:{folder.name}" if folder.name.isdigit() else folder.name


def _domain(card: Path) -> str:
    try:
        found: ModelCard = read_card(card)
    except (OSError, msgspec.DecodeError):
        return "general"
    return found.domain

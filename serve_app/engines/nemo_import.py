"""Import NeMo quietly, and without the two thirds of it that transcribing never uses."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import logging
import sys
import types
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

#: Modules that NeMo imports for training, for data sets and for other kinds of model. Each is
#: imported for real the first time that anything in it is called, subclassed or looked into.
#: What belongs here: costly modules from which others import only functions and classes. A
#: constant that is compared by identity would not survive the deferral.
DEFERRED = frozenset(
    {
        # torch.compile; Lightning imports one class of it, for isinstance
        "torch._dynamo",
        "lightning.pytorch.callbacks.progress.rich_progress",
        # data sets, augmentation, diarization scores
        "nemo.collections.asr.data",
        "nemo.collections.asr.metrics.bleu",
        "nemo.collections.asr.metrics.der",
        "nemo.collections.asr.parts.preprocessing.perturb",
        "nemo.collections.asr.parts.utils.speaker_utils",
        "nemo.collections.audio",
        "nemo.collections.common.data",
        "datasets",
        "lhotse",
        "librosa",
        "pandas",
        "scipy.optimize",
        "scipy.signal",
        "sklearn",
        # losses, kernels of language models
        "nemo.collections.asr.parts.numba",
        "nemo.collections.asr.parts.submodules.ngram_lm.ngram_lm_triton",
        # models and modules that the engine does not serve
        "nemo.collections.asr.models.aed_multitask_models",
        "nemo.collections.asr.models.classification_models",
        "nemo.collections.asr.models.clustering_diarizer",
        "nemo.collections.asr.models.label_models",
        "nemo.collections.asr.models.sortformer_diar_models",
        "nemo.collections.asr.modules.transformer_encoder",
        "nemo.collections.asr.parts.utils.asr_multispeaker_utils",
        "nemo.collections.common.prompts",
        "torchmetrics.functional.audio",
        "torchmetrics.functional.text",
        "onnx",
        "pytorch_lightning",
        "transformers",
    }
)

#: NeMo imports numba to ask whether it sees a GPU, and notes "no" where it is missing. The one
#: thing that depends on the answer is a kernel of SpecAugment, for training.
ABSENT = frozenset({"numba"})

_NEMO = "nemo.collections.asr.models"

log = logging.getLogger(__name__)


def import_nemo() -> None:
    """Import `nemo.collections.asr.models`, once in a process. Blocks for seconds of CPU.

    Raises:
        ImportError: NeMo is not installed.
    """
    logging.getLogger("nv_one_logger").setLevel(logging.ERROR)
    importlib.import_module("torch")
    if _NEMO not in sys.modules:
        before = set(sys.modules)
        try:
            with deferred(DEFERRED, ABSENT):
                importlib.import_module(_NEMO)
        except (ImportError, AttributeError, TypeError, NameError) as error:
            # another version of NeMo, or of what it imports, than the lists were made for
            log.warning("quick import of NeMo failed, importing all of it: %s", error)
            _forget(before)
            importlib.import_module(_NEMO)
    from nemo.utils import logging as nemo_logging

    nemo_logging.set_verbosity(nemo_logging.ERROR)


def _forget(before: Collection[str]) -> None:
    """Forget the packages that were imported since `before` and have met stand-ins."""
    known = {name.partition(".")[0] for name in before}
    tainted = {
        name.partition(".")[0]
        for name, module in list(sys.modules.items())
        if any(type(value) in (_DeferredModule, _DeferredName) for value in vars(module).values())
    }
    for name in list(sys.modules):
        if name.partition(".")[0] in tainted - known:
            del sys.modules[name]


@contextmanager
def deferred(names: Collection[str], absent: Collection[str] = ()) -> Iterator[None]:
    """Within the block, importing a module of `names`, or one below it, loads nothing.

    ``import m`` and ``from m import name`` bind stand-ins, which import the module when they are
    first called, subclassed, used in ``isinstance`` or looked into, inside the block or after it.
    Modules that are imported already stay as they are. After the block `sys.modules` holds no
    stand-ins: whoever imports such a module then gets the module itself.

    Modules of `absent` cannot be imported within the block, as if they were not installed.
    """
    finder = _Finder(names, absent)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        finder.release(*finder.names)


@contextmanager
def without_librosa() -> Iterator[None]:
    """Within the block, a model is built with a filterbank of zeros, and librosa not imported.

    NeMo computes the filterbank by librosa, whose import takes seconds, only to overwrite it by
    the one in the checkpoint. (Restoring is strict: a checkpoint without one is refused.)
    """
    features: Any = importlib.import_module("nemo.collections.asr.parts.preprocessing.features")

    def mel(*, n_fft: int, n_mels: int, **_: Any) -> npt.NDArray[np.float32]:
        return np.zeros((n_mels, 1 + n_fft // 2), dtype=np.float32)

    original = features.librosa
    features.librosa = types.SimpleNamespace(filters=types.SimpleNamespace(mel=mel))
    try:
        yield
    finally:
        features.librosa = original


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the deferred modules and "loads" them as stand-ins."""

    def __init__(self, names: Collection[str], absent: Collection[str]) -> None:
        self.names = {name for name in names if name not in sys.modules}
        self.absent = {name for name in absent if name not in sys.modules}

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: types.ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname in self.absent:
            raise ModuleNotFoundError(f"{fullname} is left out", name=fullname)
        if self.names.isdisjoint(_ancestry(fullname)):
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _DeferredModule(spec.name, self)

    def exec_module(self, module: types.ModuleType) -> None:
        pass

    def release(self, *names: str) -> None:
        """Defer these modules, and those above and below them, no longer."""
        for name in names:
            self.names.difference_update(_ancestry(name))
        for name, module in list(sys.modules.items()):
            if isinstance(module, _DeferredModule) and self.names.isdisjoint(_ancestry(name)):
                del sys.modules[name]
                parent, _, child = name.rpartition(".")
                if parent in sys.modules:
                    sys.modules[parent].__dict__.pop(child, None)


class _DeferredModule(types.ModuleType):
    def __init__(self, name: str, finder: _Finder) -> None:
        super().__init__(name)
        self._finder = finder

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system and `typing` ask; that is no use
            raise AttributeError(f"module {self.__name__!r} is deferred and has no {name!r} yet")
        return _DeferredName(self, name)


class _DeferredName:
    """Stands for ``module.name``."""

    __slots__ = ("_module", "_name")

    def __init__(self, module: _DeferredModule, name: str) -> None:
        self._module = module
        self._name = name

    def _resolve(self) -> Any:
        path = self._module.__name__
        self._module._finder.release(path)
        module = importlib.import_module(path)
        try:
            return getattr(module, self._name)
        except AttributeError:
            return importlib.import_module(f"{path}.{self._name}")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._resolve(), name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._resolve()(*args, **kwargs)

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self._resolve(),)

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, self._resolve())

    def __subclasscheck__(self, cls: type) -> bool:
        return issubclass(cls, self._resolve())

    def __getitem__(self, key: Any) -> Any:
        return self._resolve()[key]

    def __or__(self, other: Any) -> Any:  # annotations: `Name | None`
        return self

    __ror__ = __or__


def _ancestry(name: str) -> Iterator[str]:
    """ "a.b.c" -> "a", "a.b", "a.b.c"."""
    parts = name.split(".")
    return (".".join(parts[: i + 1]) for i in range(len(parts)))

"""Import NeMo without log output, and without the two thirds that transcription does not use."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import logging
import sys
import types
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

#: Modules that NeMo imports for training, data sets and other kinds of models. The import of each
#: is deferred until something in it is called, subclassed or accessed. Only slow modules from which
#: others import nothing but functions and classes belong here: a constant that is compared by
#: identity would not work.
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
        # models and modules that few files need, or none that the engine serves
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

#: NeMo imports numba to check whether it supports the GPU, and assumes "no" if it is missing. Only
#: a kernel of SpecAugment, for training, depends on the result. Torchmetrics imports matplotlib,
#: which takes a second, if it is there; only its plots need it.
ABSENT = frozenset({"matplotlib", "numba"})

_NEMO = "nemo.collections.asr.models"

log = logging.getLogger(__name__)
#: NeMo's. Its own set_verbosity and temp_verbosity set the level of every handler of it too, also
#: of other people's.
nemo_log = logging.getLogger("nemo_logger")


def import_nemo() -> None:
    """Import `nemo.collections.asr.models`, once per process. Takes seconds of CPU.

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
            # the lists do not fit this version of NeMo or its dependencies
            log.warning("the partial import of NeMo failed; importing all of it: %s", error)
            _forget(before)
            importlib.import_module(_NEMO)
    nemo_log.setLevel(logging.ERROR)


def nemo_class(name: str) -> Any:
    """A class of models, as NeMo itself finds it by its name from then on.

    Args:
        name: in `nemo.collections.asr.models`, which is imported.
    """
    models = sys.modules[_NEMO]
    found = getattr(models, name)
    if isinstance(found, _DeferredName):
        found = found._resolve()
        setattr(models, name, found)
    return found


@contextmanager
def silent_nemo() -> Iterator[None]:
    """Within the block NeMo, and what makes its modules, log nothing but what is critical."""
    logs = (nemo_log, logging.getLogger("hydra.utils"))
    before = [each.level for each in logs]
    for each in logs:
        each.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for each, level in zip(logs, before, strict=True):
            each.setLevel(level)


def _forget(before: Collection[str]) -> None:
    """Remove the packages that were imported since `before` and refer to placeholders."""
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
    """Defer the import of modules within the block.

    ``import m`` and ``from m import name`` bind placeholders, which import the module when they are
    first called, subclassed, used in ``isinstance`` or accessed, inside the block or after it.
    Modules that are imported already are not affected. After the block `sys.modules` has no
    placeholders: a later import of such a module loads the module itself.

    Args:
        names: modules to defer, with their submodules.
        absent: distributions that are not installed, and modules that cannot be imported, within
            the block.
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
    """Within the block, build models with a filterbank of zeros, without importing librosa.

    NeMo computes the filterbank with librosa, whose import takes seconds, and then overwrites it
    with the one in the checkpoint. (Restoring is strict: a checkpoint without one is refused.)
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
    """Finds the deferred modules and loads placeholders for them."""

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

    def find_distributions(
        self, context: importlib.metadata.DistributionFinder.Context
    ) -> Iterable[importlib.metadata.Distribution]:
        """Called by `importlib.metadata` for every finder, of which this is the first."""
        if context.name in self.absent:
            raise importlib.metadata.PackageNotFoundError(context.name)
        return ()

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _DeferredModule(spec.name, self)

    def exec_module(self, module: types.ModuleType) -> None:
        pass

    def release(self, *names: str) -> None:
        """Stop deferring these modules, their parents and their submodules."""
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
        if name.startswith("__"):  # asked by the import system and `typing`, which is not a use
            raise AttributeError(f"module {self.__name__!r} is deferred and has no {name!r} yet")
        return _DeferredName(self, name)


class _DeferredName:
    """Placeholder for ``module.name``."""

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
    """Split "a.b.c" into "a", "a.b" and "a.b.c"."""
    parts = name.split(".")
    return (".".join(parts[: i + 1]) for i in range(len(parts)))

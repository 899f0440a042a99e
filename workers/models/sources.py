"""Models outside of the registry: their files, checked, and what can be said of them in a card."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from schemas.model_card import CARD_FILE, MODEL_FILE, ModelCard
from schemas.settings import ModelSettings
from serve_app.engines.errors import EngineError
from serve_app.engines.faster_whisper.folder import WEIGHTS as WHISPER_WEIGHTS
from serve_app.engines.faster_whisper.folder import model_files
from serve_app.registry.registry import CLAIM, REMOVED
from serve_app.registry.versions import read_card
from workers.models.mlflow_source import MLFLOW, MlflowVersion

#: Begins the name of a model on the Hugging Face hub, ``hf:OWNER/MODEL@REVISION``.
HUB = "hf:"
_SUFFIX = ".nemo"
_WHISPER = "faster-whisper"


class FoundModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model that can be registered.

    Attributes:
        files: by the path that each will have in the version's folder.
        card: what is known of the model.
        path: of the model, as its engine finds it.
    """

    files: Mapping[str, Path]
    card: ModelCard
    path: Path

    @property
    def settings(self) -> ModelSettings:
        """Settings to load it with."""
        return ModelSettings(engine=self.card.engine, path=str(self.path.absolute()))


def find_model(
    source: str, work: Path, *, engine: str = "nemo", file: str | None = None
) -> FoundModel:
    """Find a model, and check its files without running any code from them. Blocks.

    Args:
        source: a `.nemo` file, a folder with a model, ``hf:OWNER/MODEL@REVISION`` (not for an
            engine of one's own),
            ``mlflow:/models/NAME/VERSION`` or ``mlflow:/models/NAME@ALIAS``.
        work: folder for what is downloaded; the files of the result may be in it.
        engine: what is to run it, as in the settings. The files of one of your own are not checked;
            of a folder for one that is built in, others than the model's are left out.
        file: of several `.nemo` files there, the one that is meant.

    Raises:
        EngineError: there is no such model, it cannot be downloaded, or its file is refused.
        OSError: a file cannot be read, or the server of a registry not be reached.
    """
    if source.startswith(MLFLOW):
        return _from_mlflow(source, work, engine, file)
    if source.startswith(HUB):
        if engine not in ("nemo", "transformers"):
            raise EngineError(f"{source}: from the hub come models of nemo and transformers only")
        path, uri = _from_hub(source.removeprefix(HUB), file, engine)
        found = _of_transformers(path) if engine == "transformers" else _of_file(path)
        found.card.source = uri
        return found
    path = Path(source)
    if engine in _FOLDERS:
        return _FOLDERS[engine](path)
    if path.is_dir():
        return _of_folder(path, engine)
    if not path.is_file():
        raise EngineError(
            f"{source}: no such file or folder; a model of a hub is named "
            f"{HUB}OWNER/MODEL@REVISION or {MLFLOW}NAME/VERSION"
        )
    return _of_file(path) if engine == "nemo" else _of_files({path.name: path}, engine, path)


def _of_folder(folder: Path, engine: str) -> FoundModel:
    """A version that `chorus finetune` made elsewhere, or the files of another engine's model."""
    paths = [each for each in sorted(folder.rglob("*")) if each.is_file()]
    files = {each.relative_to(folder).as_posix(): each for each in paths}
    files = {key: path for key, path in files.items() if not _is_hidden(key)}
    for own in (CARD_FILE, CLAIM, REMOVED):
        files.pop(own, None)
    if engine != "nemo":
        return _of_files(files, engine, folder)
    if MODEL_FILE not in files:
        raise EngineError(f"{folder}: this folder has no {MODEL_FILE}; name the model's file")
    found = _of_file(files[MODEL_FILE], folder / CARD_FILE)
    return msgspec.structs.replace(found, files=files)


def _of_whisper(folder: Path) -> FoundModel:
    """The files of a folder that are the model's; what else is there stays there."""
    found = _of_files(model_files(folder), _WHISPER, folder)
    found.card.model_class = "Whisper"
    return found


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def _of_file(path: Path, card_file: Path | None = None) -> FoundModel:
    from serve_app.engines.nemo.archive import open_archive
    from serve_app.engines.nemo.examination import WEIGHTS
    from serve_app.engines.nemo.weights import read_list

    known = _known(path, card_file or path.with_suffix(".json"))
    with open_archive(path) as archive:
        known.model_class = archive.model_class
        known.parameters = sum(
            math.prod(each.size) for each in read_list(archive.folder / WEIGHTS).values()
        )
    return FoundModel(files={MODEL_FILE: path}, card=known, path=path)


def _of_files(files: Mapping[str, Path], engine: str, path: Path) -> FoundModel:
    if not files:
        raise EngineError("the folder has no files")
    first = next(iter(files.values()))
    return FoundModel(files=files, card=_new_card(first, engine), path=path)


def _of_transformers(folder: Path) -> FoundModel:
    from serve_app.engines.transformers.folder import CONFIG, check_folder

    checked = check_folder(folder)
    card = _known(checked.files[CONFIG], folder / CARD_FILE)
    card.engine = "transformers"
    card.model_class, card.parameters = checked.family, checked.parameters
    return FoundModel(files=checked.files, card=card, path=folder)


#: Finds the model in a folder, by the engine that is built in.
_FOLDERS: Mapping[str, Callable[[Path], FoundModel]] = {
    "transformers": _of_transformers,
    _WHISPER: _of_whisper,
}


def _folder_of_model(engine: str, paths: Mapping[str, Path], work: Path) -> Path:
    """The folder among downloaded files that has the weights of CTranslate2, if one has."""
    weights = [path for path in paths.values() if path.name == WHISPER_WEIGHTS]
    return weights[0].parent if engine == _WHISPER and len(weights) == 1 else work


def _known(path: Path, card_file: Path) -> ModelCard:
    """The card beside a model, or an empty one."""
    try:
        return read_card(card_file)
    except (OSError, msgspec.DecodeError):
        return _new_card(path, "nemo")


def _new_card(path: Path, engine: str) -> ModelCard:
    made = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
    return ModelCard(name="", version="", domain="", made=made, engine=engine)


def _from_hub(name: str, file: str | None, engine: str) -> tuple[Path, str]:
    """Download a model at the commit that a revision names now.

    Returns:
        Its `.nemo` file, or the folder of its files, and its URI with that commit.
    """
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    repository, _, revision = name.partition("@")
    try:
        info = HfApi().model_info(repository, revision=revision or None)
        names = [each.rfilename for each in info.siblings or []]
        if engine == "transformers":
            path = _folder_from_hub(repository, names, info.sha)
        else:
            chosen = file or _only(names, f"{HUB}{name}")
            path = Path(hf_hub_download(repository, chosen, revision=info.sha))
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise EngineError(f"{HUB}{name}: {reason or type(error).__name__}") from error
    return path, f"{HUB}{repository}@{info.sha}"


def _folder_from_hub(repository: str, names: list[str], commit: str | None) -> Path:
    """Download the files of a Transformers model, and no others, into the hub's cache."""
    from huggingface_hub import hf_hub_download

    from serve_app.engines.transformers.folder import CONFIG, wanted_files

    wanted = wanted_files(names)
    if CONFIG not in wanted:
        raise EngineError(f"{HUB}{repository} has no {CONFIG}, but {', '.join(names[:10])}")
    paths = [Path(hf_hub_download(repository, each, revision=commit)) for each in wanted]
    return paths[0].parent


def _from_mlflow(source: str, work: Path, engine: str, file: str | None) -> FoundModel:
    """A `.nemo` file of a version of an MLflow model, or all its files for another engine."""
    version = MlflowVersion(source)
    names = version.files()
    if engine == "nemo":
        chosen = file or _only(names, version.uri)
        if chosen not in names:
            raise EngineError(f"{version.uri} has no file {chosen}, but {', '.join(names)}")
        card = str(Path(chosen).with_suffix(".json"))
        paths = {each: version.download(each, work) for each in (chosen, card) if each in names}
        found = _of_file(paths[chosen])
        described = card in paths
    else:
        paths = {each: version.download(each, work) for each in names}
        if engine in _FOLDERS:
            found = _FOLDERS[engine](_folder_of_model(engine, paths, work))
        else:
            found = _of_files(paths, engine, work)
        described = False
    if not described:
        found.card.made = version.made
    found.card.source, found.card.imported = version.uri, version.facts
    return found


def _only(names: list[str], what: str) -> str:
    models = [name for name in names if name.endswith(_SUFFIX)]
    if len(models) == 1:
        return models[0]
    if models:
        raise EngineError(f"{what} has the files {', '.join(models)}; choose one with --file")
    there = f", but {', '.join(names[:10])}" if names else ""
    raise EngineError(f"{what} has no {_SUFFIX} file{there}")

"""Versions of an MLflow model registry: found, described, and their files downloaded.

The server and the credentials are those of MLflow's own tools, in the environment
(``MLFLOW_TRACKING_URI``, ``MLFLOW_REGISTRY_URI``, ``MLFLOW_TRACKING_TOKEN``, ...). Only files are
read from there: nothing of a model is run, and nothing is written.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from schemas.decoding import nearest
from schemas.model_card import ImportFacts
from serve_app.engines.errors import EngineError

#: Begins the name of a version: ``mlflow:/models/NAME/VERSION`` or ``mlflow:/models/NAME@ALIAS``.
MLFLOW = "mlflow:/models/"
#: What MLflow's client is told unless the environment says something else: four minutes of attempts
#: are too long for somebody who waits, and nobody asked for statistics on them to be sent.
_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
#: Most models that an error message chooses from.
_LISTED = 1000


class MlflowVersion:
    """A version of a model in an MLflow registry. Its methods block.

    Args:
        source: ``mlflow:/models/NAME/VERSION`` or ``mlflow:/models/NAME@ALIAS``.

    Attributes:
        uri: of the version, with its number.
        made: when it was made there, UTC, ISO 8601.
        facts: what that registry says of it.

    Raises:
        EngineError: there is no such version; the message says which there are.
        OSError: the server cannot be reached, or refuses to answer.
    """

    def __init__(self, source: str) -> None:
        name, version, alias = _parts(source)
        self._server = _server()
        with _errors(self._server):
            client = _client()
            found = _find(client, source, name, version, alias)
            self.uri = f"{MLFLOW}{name}/{found.version}"
            self.made = _time(found.creation_timestamp)
            aliases = client.get_registered_model(name).aliases
            self.facts = ImportFacts(
                server=self._server,
                run=found.run_id or None,
                aliases=sorted(key for key, each in aliases.items() if each == str(found.version)),
                tags=dict(found.tags),
                metrics=_metrics(client, found),
            )
            self._root, self._within = _root(
                client.get_model_version_download_uri(name, found.version)
            )

    def files(self) -> list[str]:
        """The paths of its files, in order."""
        with _errors(self._server):
            if self._within is not None:
                return [self._within]
            return sorted(_walk(self._root, ""))

    def download(self, path: str, folder: Path) -> Path:
        """Download one of its files into a folder, and return where it is there."""
        with _errors(self._server):
            return Path(self._root.download_artifacts(path, dst_path=str(folder)))


def _parts(source: str) -> tuple[str, str, str]:
    """The name, and the version or the alias, that a source names; the other one is empty."""
    rest = source.removeprefix(MLFLOW)
    name, slash, version = rest.partition("/")
    alias = ""
    if not slash:
        name, _, alias = rest.rpartition("@")
    if not name or not (version.isdecimal() or alias):
        raise EngineError(
            f"{source}: not a version of an MLflow model: write {MLFLOW}NAME/VERSION, where the "
            f"version is a number, or {MLFLOW}NAME@ALIAS"
        )
    return name, version, alias


def _server() -> str:
    """Where the registry is, without secrets."""
    uri = os.environ.get("MLFLOW_REGISTRY_URI") or os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        raise EngineError("the variable MLFLOW_TRACKING_URI must say where the MLflow server is")
    return _public(uri)


def _public(text: str) -> str:
    """A text without the user, the password and the query of the URLs in it."""
    return re.sub(r"(\w://)[^/@\s]*@", r"\1", re.sub(r"(\w://[^?\s]*)\?[^\s)]*", r"\1", text))


def _client() -> Any:
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for name in ("mlflow", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return MlflowClient()


def _find(client: Any, source: str, name: str, version: str, alias: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        if alias:
            return client.get_model_version_by_alias(name, alias)
        return client.get_model_version(name, version)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
    names = [each.name for each in client.search_registered_models(max_results=_LISTED)]
    if name not in names:
        raise EngineError(f"{source}: there is no such model; {nearest(name, names)}")
    versions = client.search_model_versions(f"name = '{_quoted(name)}'", max_results=_LISTED)
    there = ", ".join(map(str, sorted(int(each.version) for each in versions))) or "no versions"
    aliases = ", ".join(sorted(client.get_registered_model(name).aliases)) or "none"
    raise EngineError(f"{source}: there is none; {name} has {there}, and the aliases {aliases}")


def _quoted(name: str) -> str:
    return name.replace("\\", "\\\\").replace("'", "\\'")


def _metrics(client: Any, version: Any) -> dict[str, float]:
    """The last values of the metrics of a version's run; none where the run is gone."""
    from mlflow.exceptions import MlflowException

    if not version.run_id:
        return {}
    try:
        return dict(client.get_run(version.run_id).data.metrics)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return {}


def _root(uri: str) -> tuple[Any, str | None]:
    """Where the files are, and the path of the only one, where the version is a single file."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    root = get_artifact_repository(uri)
    if next(iter(root.list_artifacts("")), None) is not None:
        return root, None
    folder, _, file = uri.rpartition("/")
    above = get_artifact_repository(folder)
    for each in above.list_artifacts(""):
        if each.path == file and not each.is_dir:
            return above, file
    return root, None


def _walk(root: Any, folder: str) -> Iterator[str]:
    for each in root.list_artifacts(folder):
        if each.is_dir:
            yield from _walk(root, each.path)
        else:
            yield each.path


def _time(milliseconds: int | None) -> str:
    moment = datetime.fromtimestamp((milliseconds or 0) / 1000, UTC)
    return moment.isoformat(timespec="seconds")


@contextlib.contextmanager
def _errors(server: str) -> Iterator[None]:
    """Turn what MLflow's client raises into an `OSError` of one line."""
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    try:
        yield
    except (MlflowException, RequestException) as error:
        reason = _public(" ".join(str(error).split()))
        raise OSError(f"{server}: {reason[:500] or type(error).__name__}") from error

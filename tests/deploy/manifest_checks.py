"""Checks of Kubernetes manifests without a cluster, as strict as a server that refuses fields."""

from __future__ import annotations

import copy
import gzip
import subprocess
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

_CRDS = Path(__file__).with_name("crds")


def rendered(folder: Path) -> list[dict[str, Any]]:
    """The objects of a kustomization, by `kubectl kustomize`."""
    done = subprocess.run(
        ["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=True
    )
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def faults(manifest: dict[str, Any]) -> Iterator[str]:
    """What an API server would refuse of an object."""
    kind, version = manifest["kind"], manifest["apiVersion"]
    name = f"{kind} {manifest['metadata']['name']}"
    schema = _schemas().get((version, kind))
    if schema is None:
        version = kubernetes_validate.latest_version()
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as refused:
            yield f"{name}: {'.'.join(map(str, refused.path))}: {refused.message}"
        return
    for error in jsonschema.Draft202012Validator(schema).iter_errors(manifest):
        yield f"{name}: {error.json_path}: {error.message}"


def serve_faults(text: str) -> Iterator[str]:
    """What Ray would refuse of a Serve config, and what it could not import."""
    from ray.serve.schema import ServeDeploySchema

    config = yaml.safe_load(text)
    try:
        ServeDeploySchema(**config)
    except ValueError as error:
        yield str(error)
    for application in config["applications"]:
        module, _, attribute = application["import_path"].partition(":")
        if not callable(getattr(import_module(module), attribute, None)):
            yield f"{application['name']}: there is no {application['import_path']}"


@cache
def _schemas() -> dict[tuple[str, str], dict[str, Any]]:
    """By API version and kind."""
    found = {}
    for path in _CRDS.glob("*.yaml.gz"):
        definition = yaml.load(gzip.decompress(path.read_bytes()), yaml.CSafeLoader)["spec"]
        for version in definition["versions"]:
            schema = _strict(copy.deepcopy(version["schema"]["openAPIV3Schema"]))
            schema["properties"]["metadata"] = {"type": "object"}
            key = (f"{definition['group']}/{version['name']}", definition["names"]["kind"])
            found[key] = schema
    return found


def _strict(schema: Any) -> Any:
    """A schema of a custom resource as JSON Schema, without fields that it does not name."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string") is True:
        return {"type": ["integer", "string"]}
    made = {key: _strict(value) for key, value in schema.items()}
    keeps = schema.get("x-kubernetes-preserve-unknown-fields") is True
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object" and not keeps:
        made.setdefault("additionalProperties", False)
    return made

"""The registry: reachable, its aliases resolve, and it can be written to safely."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from schemas.settings import RegistrySettings, Settings
from serve_app.registry.errors import RegistryFaultError, UnknownModelError
from serve_app.registry.registry import Registry
from serve_app.registry.source import VersionSource
from serve_app.registry.store import Store, open_store
from workers.doctor.finding import Finding, failure, ok, warning

_NAME = "registry"


def examine_registry(settings: Settings) -> Iterator[Finding]:
    """Read the registry, resolve what the models name, and try to write.

    Args:
        settings: that name it; without a section nothing is examined.
    """
    if settings.registry is None:
        return
    url = settings.registry.url
    store = open_store(url)
    here = store.path("")
    if here is not None and not here.is_dir():
        yield warning(
            _NAME,
            f"there is no folder {url} yet",
            next="`chorus models register` or `chorus finetune` makes it",
        )
    else:
        try:
            names = Registry(store).names()
        except OSError as error:
            yield failure(
                _NAME,
                str(error),
                cause="the store is away, or its credentials are missing or wrong",
                next="credentials are found as the store's own tools find them, such as "
                "AWS_ACCESS_KEY_ID and AWS_ENDPOINT_URL; try those tools",
            )
            return
        yield ok(_NAME, f"{store.url}: {len(names)} models")
        yield examine_writing(store)
    yield from examine_names(settings, settings.registry)


def examine_names(settings: Settings, registry: RegistrySettings) -> Iterator[Finding]:
    """Whether each `model` of the settings names a version that is there."""
    for name, model in settings.models.items():
        if model.model is None:
            continue
        try:
            card = VersionSource(model, registry).card()
        except (UnknownModelError, RegistryFaultError, OSError, ValueError) as error:
            yield failure(
                f"models.{name}.model",
                str(error),
                cause="the alias was never moved to a version, or the version was removed",
                next="`chorus models list` shows what there is; `chorus models promote` moves an "
                "alias",
            )
        else:
            yield ok(f"models.{name}.model", f"{model.model} is {card.name}:{card.version}")


def examine_writing(store: Store) -> Finding:
    """Whether a file can be created, and not a second time.

    Args:
        store: of the registry; a small file is created there and removed.
    """
    key = f"probe-{secrets.token_hex(8)}"
    try:
        store.create(key, b"")
        try:
            store.create(key, b"")
        except FileExistsError:
            return ok("registry, writing", "files are created once and never overwritten")
        finally:
            store.remove(key)
    except OSError as error:
        return warning(
            "registry, writing",
            str(error),
            cause="read-only rights, or a file system without hard links",
            next="serving needs no more; `chorus models` and `chorus finetune` do",
        )
    return failure(
        "registry, writing",
        f"{store.url}: a file that exists was created again: two writers could lose versions",
        next="take a store with conditional writes, or a file system with hard links",
    )

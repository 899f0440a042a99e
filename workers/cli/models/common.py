"""Options and errors that the subcommands of `chorus models` have in common."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from workers import exit_codes
from workers.cli.common import DEFAULT_SETTINGS, fail

if TYPE_CHECKING:
    from schemas.model_card import ModelCard
    from serve_app.registry.registry import Registry

RegistryOption = Annotated[
    str | None,
    typer.Option(
        "--registry",
        envvar="CHORUS_REGISTRY",
        help="Folder or URL (s3://, gs://, az://) of the registry. Default: that of the settings; "
        "without settings, the folder models.",
    ),
]


def _checked(name: str | None) -> str | None:
    """A name as it was given; ends the command where nothing in a registry can be called so."""
    from schemas.settings import NAME_PATTERN

    if name is not None and not re.fullmatch(NAME_PATTERN, name):
        fail(
            f"`{name}` is no name: give one of a-z, 0-9, _ . -, without an alias or a version",
            exit_codes.SETTINGS,
        )
    return name


ReferenceArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="NAME, NAME@ALIAS or NAME:VERSION.")
]
NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the model.", callback=_checked)
]
OptionalName = Annotated[
    str | None,
    typer.Argument(metavar="NAME", help="List the versions of this model.", callback=_checked),
]
AliasOption = Annotated[str, typer.Option(help="The alias.", callback=_checked)]
WhyOption = Annotated[str, typer.Option(help="The reason, for the history.")]
ByOption = Annotated[
    str | None, typer.Option(help="Who does it, for the history. Default: the user.")
]

Command = TypeVar("Command", bound=Callable[..., None])


def explained(command: Command) -> Command:
    """End with a sentence where the registry does not have what is asked for, or refuses it."""

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> None:
        from serve_app.engines.errors import EngineError
        from serve_app.registry.errors import (
            ConflictError,
            RegistryFaultError,
            UnknownModelError,
        )

        try:
            command(*args, **options)
        except (UnknownModelError, RegistryFaultError, EngineError, ValueError) as error:
            fail(str(error), exit_codes.SETTINGS)
        except ConflictError as error:
            fail(str(error), exit_codes.FAILURE)
        except (BrokenPipeError, ConnectionError):
            raise
        except OSError as error:
            fail(str(error), exit_codes.UNREACHABLE)

    return run  # type: ignore[return-value]


def open_registry(url: str | None, settings_file: Path | None) -> Registry:
    """The registry that an option, or else the settings name."""
    from serve_app.registry.registry import Registry
    from serve_app.registry.store import open_store

    if url is None:
        url = _registry_of(settings_file) or "models"
    return Registry(open_store(url))


def resolved(registry: Registry, text: str) -> ModelCard:
    """The card of the version that `text` names."""
    from schemas.model_reference import parse_reference

    return registry.resolve(parse_reference(text))


def _registry_of(settings_file: Path | None) -> str | None:
    from schemas.settings import load_settings

    if settings_file is None and not DEFAULT_SETTINGS.is_file():
        return None
    settings = load_settings(settings_file or DEFAULT_SETTINGS, files=False)
    return None if settings.registry is None else settings.registry.url

"""Python and the libraries that are installed, against what the project asks for."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, metadata, requires, version

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from workers.doctor.finding import Finding, failure, ok, warning

#: The distribution of this project.
DISTRIBUTION = "chorus-asr"
#: The extras that a machine which serves and streams has.
NEEDED = ("serve", "stream")
#: Others, whose libraries may be absent.
OPTIONAL = ("broker", "evaluation", "finetune")
_SHOWN = ("torch", "nemo-toolkit", "ray", "kafka-python", "av")


def examine_python(running: str, asked: str) -> Finding:
    """Whether this Python is one that the project supports.

    Args:
        running: its version.
        asked: what the project asks for, such as ``>=3.11,<3.12``.
    """
    if running in SpecifierSet(asked):
        return ok("Python", running)
    return failure(
        "Python",
        f"{running}, and Chorus needs {asked}",
        next="make a new environment with such a Python",
    )


def examine_libraries(
    wanted: Iterable[Requirement], installed: Mapping[str, str | None]
) -> Iterator[Finding]:
    """Whether the libraries are there, in versions that the project works with.

    Args:
        wanted: what the project requires.
        installed: the version of each by its normalised name; None where it is absent.
    """
    known = {str(canonicalize_name(each.name)): each for each in wanted}
    wrong = [
        f"{name} {installed[name]} (needs {each.specifier})"
        for name, each in known.items()
        if installed[name] is not None and not each.specifier.contains(installed[name] or "", True)
    ]
    absent = sorted(name for name in known if installed[name] is None)
    shown = ", ".join(f"{name} {installed[name]}" for name in _SHOWN if installed.get(name))
    if wrong:
        yield failure(
            "libraries",
            ", ".join(wrong),
            cause="something else that was installed into this environment changed them",
            next="install the pinned versions again: `pip install -r requirements.lock`, or "
            "`pip install 'chorus-asr[serve,stream]'`",
        )
    if absent:
        yield warning(
            "libraries",
            f"not installed: {', '.join(absent)}",
            next="where this machine is to serve and to stream: "
            "`pip install 'chorus-asr[serve,stream]'`",
        )
    if not wrong and not absent:
        yield ok("libraries", f"{shown} and {len(known)} in all, as the project asks for")


def examine_installed() -> Iterator[Finding]:
    """`examine_python` and `examine_libraries` for this environment."""
    try:
        asked = metadata(DISTRIBUTION)["Requires-Python"]
        needed = [Requirement(each) for each in requires(DISTRIBUTION) or ()]
    except PackageNotFoundError:
        yield warning(
            "libraries",
            "not examined: Chorus runs from its sources, without being installed",
            next="`pip install -e .`",
        )
        return
    yield examine_python(platform.python_version(), asked)
    wanted = [
        each
        for each in needed
        if each.name != DISTRIBUTION
        and (_is_of(each, NEEDED) or (_is_of(each, OPTIONAL) and _version(each.name)))
    ]
    names = [str(canonicalize_name(each.name)) for each in wanted]
    yield from examine_libraries(wanted, {name: _version(name) for name in names})


def _is_of(each: Requirement, extras: Iterable[str]) -> bool:
    return each.marker is None or any(each.marker.evaluate({"extra": name}) for name in extras)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None

"""An examination that cannot be made does not keep the others from being made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from workers.doctor.causes import failure_of
from workers.doctor.finding import Finding, warning


def guarded(name: str, examine: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """The findings of an examination; one that cannot be made is a finding itself.

    Args:
        name: of the finding in that case.
        examine: the examination.
    """
    try:
        yield from examine()
    except ModuleNotFoundError as error:
        package = (error.name or "a package").partition(".")[0]
        yield warning(
            name,
            f"not examined: {package} is not installed",
            next="install what this machine is to do: `pip install 'chorus-asr[serve,stream]'`",
        )
    except Exception as error:  # whatever it is, the other examinations go on
        yield failure_of(name, f"{type(error).__name__}: {error}")

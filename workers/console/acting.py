"""Acts of a page: who acts, why, what refuses them, and where they leave their line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from litestar.exceptions import ClientException, HTTPException, NotFoundException

from serve_app.registry.errors import ConflictError, RegistryFaultError, UnknownModelError
from serve_app.registry.provenance import user as user_of_process
from workers.console.access import ANYBODY, User
from workers.console.audit import audit
from workers.console.errors import Unavailable
from workers.kafka.dead_letters import OtherCommandError
from workers.kafka.errors import refusal_in
from workers.kafka.reader import UnknownTopicError

#: Longest reason that is kept.
_MAX_WHY = 2000


class Conflict(HTTPException):
    """Somebody else did something to the same thing; the message says what there is now."""

    status_code = 409


def actor(user: User) -> str:
    """Who acts, as histories name it: the key, or who runs the console where there are no keys."""
    return user_of_process() if user is ANYBODY else user.name


def reason_of(form: dict[str, str]) -> str:
    """The reason in a form.

    Raises:
        ClientException: there is none, or it is too long.
    """
    why = " ".join(form.get("why", "").replace("\0", " ").split())
    if not why:
        raise ClientException("give a reason: it stays in the history")
    if len(why) > _MAX_WHY:
        raise ClientException(f"the reason has {len(why)} characters; give at most {_MAX_WHY}")
    return why


@dataclass
class Outcome:
    """How an act went, for its line."""

    text: str = "done"


@contextmanager
def act(user: User, what: str, target: str, why: str = "") -> Iterator[Outcome]:
    """Do something to `target` in the block: its line is written, also where it is refused.

    Raises:
        HTTPException: as `explained`.
    """
    outcome = Outcome()
    try:
        with explained():
            yield outcome
    except Exception as error:
        refused = f"refused: {type(error.__cause__ or error).__name__}"
        audit(user, what, target, why=why, outcome=refused)
        raise
    audit(user, what, target, why=why, outcome=outcome.text)


@contextmanager
def explained() -> Iterator[None]:
    """Errors of the registry and of Kafka as those of a page.

    Raises:
        HTTPException: 400, 404, 409 or 503, with the message of what was raised.
    """
    try:
        yield
    except HTTPException:
        raise
    except UnknownModelError as error:
        raise NotFoundException(str(error)) from error
    except (ConflictError, OtherCommandError) as error:
        raise Conflict(str(error)) from error
    except UnknownTopicError as error:
        raise Unavailable(str(error)) from error
    except (RegistryFaultError, ValueError) as error:
        raise ClientException(str(error)) from error
    except OSError as error:
        raise Unavailable(str(error)) from error
    except Exception as error:
        refusal = refusal_in(error)
        if refusal is None:
            raise
        raise Unavailable(f"Kafka refuses this for good: {refusal}") from error

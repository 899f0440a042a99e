"""Pages from templates: the environment, and what every template knows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader, StrictUndefined
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.response import Template

from workers.console.headers import nonce_of
from workers.console.state import AnyRequest
from workers.console.static_files import static_path

_HERE = Path(__file__).parent
#: The reports of comparisons, of which pages take the differences of texts.
_REPORT = _HERE.parent / "evaluation" / "report"
#: Where there is no figure.
NONE = "–"


def template_engine() -> JinjaTemplateEngine:
    """The engine; what goes into a page is escaped."""
    loaders = [
        FileSystemLoader(_HERE / "templates"),
        PrefixLoader({"report": FileSystemLoader(_REPORT)}),
    ]
    environment = Environment(
        loader=ChoiceLoader(loaders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {each.__name__: each for each in (clock, figure, percent, shown)}
    return JinjaTemplateEngine.from_environment(environment)


def page(request: AnyRequest, template: str, *, status: int = 200, **context: Any) -> Template:
    """A page, or a part of one.

    Args:
        request: for it.
        template: in `templates`.
        status: of the answer.
        context: what the template knows, beside what
            all of them know: `user`, `pages`, `here`, `nonce`, `static` and `signs_in`.
    """
    console = request.app.state.console
    user = console.access.user(request)
    pages: Sequence[Any] = request.app.state.pages
    common = {
        "user": user,
        "pages": [each for each in pages if each.title and user and user.may(each.role)],
        "here": request.url.path,
        "nonce": nonce_of(request.scope),
        "static": static_path(),
        "signs_in": not console.access.open,
    }
    return Template(template, context={**common, **context}, status_code=status)


def clock(seconds: float | None) -> str:
    """A Unix time in seconds as date and time in UTC."""
    if seconds is None:
        return NONE
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def figure(value: float | None, digits: int = 1) -> str:
    """A number with so many decimals; a dash where there is none."""
    return NONE if value is None else f"{value:,.{digits}f}"


def percent(share: float | None) -> str:
    """A share from 0 to 1 in percent."""
    return NONE if share is None else f"{100 * share:.0f}%"


def shown(text: str, limit: int = 2000) -> str:
    """A text of others for a page: cut, and without characters that a page cannot hold.

    Characters that reverse the direction of what follows stay: whoever shows the text puts it into
    a `bdi` or an element with `dir`, which they do not reach beyond.
    """
    cut = text if len(text) <= limit else text[:limit] + " …"
    return "".join(
        each if each.isprintable() or each in "\n\t" or each in _DIRECTION else "�" for each in cut
    )


#: Marks of direction, which texts in some scripts need.
_DIRECTION = (
    "\u200b\u200c\u200d\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)

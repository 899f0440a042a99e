"""Pages from templates: the environment, and what every template knows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader, StrictUndefined
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.response import Template

from workers.console.headers import nonce_of
from workers.console.state import AnyRequest
from workers.console.static_files import static_path
from workers.console.text import clock, figure, percent, shown

_HERE = Path(__file__).parent
#: The reports of comparisons, of which pages take the differences of texts.
_REPORT = _HERE.parent / "evaluation" / "report"


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

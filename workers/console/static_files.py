"""Scripts, styles and icons, from this package and nowhere else.

Their path changes with what is in them, so that browsers may keep them.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from litestar import get
from litestar.response import File
from litestar.static_files import create_static_files_router

_HERE = Path(__file__).parent
FOLDER = _HERE / "static"
#: The colours of the reports of comparisons, which the console has too.
_PALETTE = _HERE.parent / "evaluation" / "report" / "palette.css"


@cache
def static_path() -> str:
    """Where the files are, as pages name them."""
    digest = hashlib.sha256()
    for path in sorted(each for each in FOLDER.rglob("*") if each.is_file()):
        digest.update(path.name.encode() + path.read_bytes())
    digest.update(_PALETTE.read_bytes())
    return f"/static/{digest.hexdigest()[:12]}"


def static_files() -> list[Any]:
    """The handlers."""
    path = static_path()
    keep = {"cache-control": "public, max-age=31536000, immutable"}

    @get(f"{path}/palette.css", sync_to_thread=False, exclude_from_csrf=True)
    def palette() -> File:
        return File(
            _PALETTE, media_type="text/css", content_disposition_type="inline", headers=keep
        )

    @get("/favicon.ico", sync_to_thread=False, exclude_from_csrf=True)
    def icon() -> File:
        return File(
            FOLDER / "icon.svg", media_type="image/svg+xml", content_disposition_type="inline"
        )

    files = create_static_files_router(
        path,
        [FOLDER],
        after_request=_keep,
        opt={"exclude_from_csrf": True},
    )
    return [palette, icon, files]


def _keep(response: Any) -> Any:
    response.headers["cache-control"] = "public, max-age=31536000, immutable"
    return response

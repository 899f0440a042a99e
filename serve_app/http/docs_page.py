"""The API's documentation for people, made from the OpenAPI document.

One page without scripts, so that it needs nothing from another server: the pages that Litestar
brings load theirs from a content delivery network, and are blank where there is no network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from litestar import Request
from litestar.openapi.plugins import OpenAPIRenderPlugin

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
       color: #222; background: #fff }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccc; overflow-wrap: anywhere }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0;
         border-bottom: 1px solid #eee; overflow-wrap: anywhere }
code, pre { font-family: ui-monospace, monospace; background: #f4f4f4; border-radius: 3px }
code { padding: .1rem .25rem } pre { padding: .8rem; overflow-x: auto }
@media (prefers-color-scheme: dark) {
  body { color: #ddd; background: #181818 } code, pre { background: #2a2a2a } a { color: #8bf }
  h2, th, td { border-color: #444 } }
"""
_EXAMPLE = """curl {origin}/v1/audio/transcriptions{key} \\
    -F file=@speech.wav -F model=auto"""
_KEY = ' -H "Authorization: Bearer $KEY"'


class DocsPage(OpenAPIRenderPlugin):
    """Renders the OpenAPI document as HTML."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """The page.

        Args:
            request: for it; the example has its address.
            openapi_schema: the document.
        """
        return "".join(_page(openapi_schema, str(request.base_url).rstrip("/"))).encode()


def _page(document: Mapping[str, Any], origin: str) -> Iterator[str]:
    title = escape(document["info"]["title"])
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
    yield f"<title>{title}: HTTP API</title><style>{_STYLE}</style></head><body>"
    yield f"<h1>{title}</h1><p>Speech to text over HTTP, compatible with OpenAI's API. "
    yield 'For programs: <a href="/docs/openapi.json">openapi.json</a>.</p>'
    example = _EXAMPLE.format(origin=origin, key=_KEY if document.get("security") else "")
    yield f"<pre>{escape(example)}</pre>"
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield f"<h2>{method.upper()} <code>{escape(path)}</code></h2>"
            yield from _operation(operation, document)
    yield "</body></html>"


def _operation(operation: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[str]:
    for paragraph in operation.get("description", "").split("\n\n"):
        yield f"<p>{_text(paragraph)}</p>"
    for kind, body in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<p>Body: <code>{escape(kind)}</code></p>"
        yield from _properties(_resolved(body["schema"], document), document)
    yield "<table><tr><th>status</th><th>response</th></tr>"
    for status, response in operation["responses"].items():
        kinds = ", ".join(f"<code>{escape(kind)}</code>" for kind in response.get("content", {}))
        yield f"<tr><td>{escape(status)}</td><td>{_text(response['description'])} {kinds}</td></tr>"
    yield "</table>"


def _properties(schema: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[str]:
    if "properties" not in schema:
        return
    yield "<table><tr><th>field</th><th>values</th><th>meaning</th></tr>"
    for name, each in schema["properties"].items():
        found = _resolved(each, document)
        needed = " (needed)" if name in schema.get("required", ()) else ""
        yield f"<tr><td><code>{escape(name)}</code>{needed}</td><td>{_values(found)}</td>"
        yield f"<td>{_text(found.get('description', ''))}</td></tr>"
    yield "</table>"


def _values(schema: Mapping[str, Any]) -> str:
    items = schema.get("items", schema)
    if "enum" in items:
        return ", ".join(f"<code>{escape(str(value))}</code>" for value in items["enum"])
    kind = "file" if schema.get("format") == "binary" else str(items.get("type", ""))
    low, high = items.get("minimum"), items.get("maximum")
    return escape(kind if high is None else f"{kind} from {low:g} to {high:g}")


def _resolved(schema: Mapping[str, Any], document: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in schema:
        return schema
    name = schema["$ref"].rpartition("/")[2]
    found: Mapping[str, Any] = document["components"]["schemas"][name]
    return found


def _text(text: str) -> str:
    """HTML of a text with `code` between backticks."""
    parts = escape(text).split("`")
    return "".join(f"<code>{each}</code>" if n % 2 else each for n, each in enumerate(parts))

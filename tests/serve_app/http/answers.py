"""What an answer of the API says."""

from __future__ import annotations

import json
from typing import Any

import httpx


def wrong(answer: httpx.Response) -> dict[str, Any]:
    """The details of an error."""
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    found: dict[str, Any] = body["error"]
    return found


def events(body: str) -> list[dict[str, Any]]:
    """Those of a stream."""
    *lines, end = body.split("\n\n")
    assert end == ""
    assert all(line.startswith("data: ") for line in lines)
    return [json.loads(line.removeprefix("data: ")) for line in lines]

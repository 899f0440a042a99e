"""What pages load: from this console alone, and unchanged."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from litestar.testing import TestClient

from workers.console.static_files import FOLDER

VENDOR = FOLDER / "vendor"


def test_vendored_files_are_those_of_their_publishers() -> None:
    lines = (VENDOR / "SHA256SUMS").read_text().splitlines()
    known = {name: digest for digest, name in (line.split("  ") for line in lines)}
    found = {
        each.name: hashlib.sha256(each.read_bytes()).hexdigest()
        for each in VENDOR.iterdir()
        if each.name not in ("SHA256SUMS", "README.md")
    }
    assert found == known


def test_every_vendored_library_has_its_licence_and_version() -> None:
    said = (VENDOR / "README.md").read_text()
    for each in VENDOR.glob("*.LICENSE.txt"):
        assert f"`{each.name}`" in said
    for each in (*VENDOR.glob("*.js"), *VENDOR.glob("*.css")):
        assert f"`{each.name}`" in said


def test_pages_load_their_own_files_and_browsers_keep_them(client: TestClient[Any]) -> None:
    page = client.get("/live").text
    loaded = re.findall(r'(?:src|href)="([^"]+\.(?:m?js|css|svg))"', page)
    assert len(loaded) >= 6
    for path in loaded:
        assert path.startswith("/static/")
        found = client.get(path)
        assert found.status_code == 200
        assert "immutable" in found.headers["cache-control"]


def test_every_answer_says_what_may_be_loaded(client: TestClient[Any]) -> None:
    for path in ("/live", "/nothing", "/sign-in", "/utterances/x"):
        found = client.get(path)
        policy = found.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'; script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert found.headers["x-content-type-options"] == "nosniff"
        assert found.headers["cache-control"] == "no-store"
        assert not re.search(r"<script(?![^>]* src=)|<style| style=| on[a-z]+=", found.text)

"""The committed page about the settings is the one that the code writes."""

from __future__ import annotations

import re
from pathlib import Path

from deploy.local import ROOT
from schemas.json_schema import json_schema
from schemas.settings import load_settings
from schemas.settings_page import settings_page

PAGE = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")


def test_the_committed_page_is_fresh() -> None:
    assert settings_page() == PAGE, "run: python -m schemas.settings_page > docs/settings.md"


def test_every_key_has_a_row() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    definitions = json_schema("settings")["$defs"].values()
    assert sorted(rows) == sorted(key for each in definitions for key in each["properties"])


def test_links_lead_to_sections() -> None:
    headings = re.findall(r"^## `(.*)`$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^\w-]", "", heading.lower()) for heading in headings}
    links = set(re.findall(r"\]\(#(.*?)\)", PAGE))
    assert links
    assert links <= anchors


def test_the_example_is_right(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "speech").mkdir()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "general.nemo").touch()
    path = tmp_path / "chorus.yaml"
    path.write_text(example)
    assert load_settings(path).routing.default == "general"

"""A comparison as one HTML file that needs nothing else: verdict, tables, charts, worst utterances.

Each section of the page has a module that decides what is said, and a template that decides how it
looks; `page` puts them together, `page.css.j2` is the style, `charts` draws. Names and texts come
from manifests and models: only what `charts` draws goes into the page unescaped.
"""

from __future__ import annotations

from workers.evaluation.report.page import render, write_report

__all__ = ["render", "write_report"]

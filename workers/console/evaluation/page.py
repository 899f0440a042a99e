"""The pages of reports, and the way from an utterance of one to its transcript."""

from __future__ import annotations

import asyncio
from pathlib import Path

from litestar import Response, get
from litestar.exceptions import NotFoundException
from litestar.response import Redirect, Template

from workers.console.access import needs
from workers.console.acting import explained
from workers.console.evaluation.named import named_in, place_of
from workers.console.evaluation.reports import NoReportError, Report, Reports
from workers.console.headers import framing, of_a_frame
from workers.console.pages import Page
from workers.console.rendering import page
from workers.console.state import AnyRequest, Console

#: Transcripts among which an utterance is looked for.
_RECENT = 20_000


@get("/evaluation", guards=[needs("speech")])
async def show_reports(request: AnyRequest, console: Console) -> Template:
    """The reports of the folder."""
    folder = console.settings.console.reports
    found: list[Report] = []
    if folder is not None:
        with explained():
            found = await asyncio.to_thread(Reports(Path(folder)).all)
    return page(request, "reports.html.j2", reports=found, folder=folder)


@get("/evaluation/{name:str}", guards=[needs("speech")])
async def show_report(request: AnyRequest, console: Console, name: str) -> Template:
    """A report, in a frame or as a table, and the utterances that it names."""
    reports = _reports(console)
    report = await _found(reports, name)
    with explained():
        if report.kind == "validation":
            result = await asyncio.to_thread(reports.validation, report)
            return page(request, "validation.html.j2", report=report, result=result)
        if report.kind == "benchmark":
            measured = await asyncio.to_thread(reports.benchmark, report)
            return page(request, "benchmark.html.j2", report=report, result=measured)
        html = await asyncio.to_thread(reports.page, report)
        if html is None:
            text = await asyncio.to_thread(reports.text, report)
            return page(request, "report_text.html.j2", report=report, text=text)
    named = await asyncio.to_thread(named_in, html.decode(errors="replace"))
    return framing(request, page(request, "report.html.j2", report=report, named=named))


@get("/evaluation/{name:str}/page", guards=[needs("speech")])
async def report_page(console: Console, name: str) -> Response[bytes]:
    """The report itself, which may run nothing, load nothing, and ask for nothing."""
    reports = _reports(console)
    report = await _found(reports, name)
    with explained():
        html = await asyncio.to_thread(reports.page, report)
    if html is None:
        raise NotFoundException("this report has no page of its own")
    return Response(html, media_type="text/html; charset=utf-8", headers=of_a_frame())


@get("/evaluation/utterances", guards=[needs("speech")])
async def find_utterance(console: Console, id: str = "") -> Redirect:
    """Lead to the latest transcript of a record, by its id or its file."""
    topic = console.settings.kafka.topics.transcripts
    with explained():
        place = await asyncio.to_thread(place_of, id, console.topics, topic, _RECENT)
    if place is None:
        raise NotFoundException(
            f"this utterance is not among the last {_RECENT:,} transcripts of the stream; produce "
            "its record (`chorus produce`), or try its file"
        )
    return Redirect(f"/utterances/{place}")


def _reports(console: Console) -> Reports:
    folder = console.settings.console.reports
    if folder is None:
        raise NotFoundException("the settings name no folder of reports (`console.reports`)")
    return Reports(Path(folder))


async def _found(reports: Reports, name: str) -> Report:
    with explained():
        try:
            return await asyncio.to_thread(reports.find, name)
        except NoReportError as error:
            raise NotFoundException(str(error)) from None


PAGE = Page(
    "Evaluation",
    "/evaluation",
    "speech",
    (show_reports, show_report, report_page, find_utterance),
)

"""Every page of the console on a real stream, in a real browser; and their pictures for the docs.

The demo's five models with their plans transcribe its speech from a real broker, beside records
that fail. Each page is opened in both schemes on a desktop and on a phone: axe looks at it,
complaints of the browser and requests to other hosts are counted, and a sheet with its four
pictures goes to `docs/console/pages`. The last line is JSON; the exit code is 1 if anything was
found.

- `clicks`: from the address of the console to the audio of an utterance with its word network.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from kafka.errors import KafkaError
from PIL import Image
from playwright.sync_api import Browser, Error
from rich.console import Console

from deploy.demo import CALIBRATION, FOLDER, SPEECH
from deploy.local import ROOT, ChildDiedError, LocalStack
from tests.scenarios.bench import produce
from tests.scenarios.console_load import console_process
from tests.scenarios.outcome import exit_code_of
from tests.scenarios.speech import shipped_records
from tests.scenarios.stream_watch import CommitWatch
from tests.workers.console.browser import Tab, chromium
from tests.workers.console.deciding import fill_registry, fill_reports
from workers.broker.broker import BrokerError
from workers.kafka.clients import make_producer

FAILURES = (ChildDiedError, BrokerError, KafkaError, TimeoutError, Error)
PICTURES = ROOT / "docs" / "console" / "pages"
VIEWS = [("desktop", "light"), ("desktop", "dark"), ("phone", "light"), ("phone", "dark")]
#: Records that are given up, each in another way.
BAD = [
    b'{"id": "no-such-file", "audio_filepath": "medical/none.opus"}',
    b'{"id": "outside", "audio_filepath": "../../etc/passwd"}',
    b'{"id": "no-audio"}',
    b"no JSON",
    b'{"id": "no-audio-file", "audio_filepath": "manifest.jsonl"}',
]
_COLOURS = 96


class Pages:
    """Opens pages, and counts what is wrong with them.

    Attributes:
        faults: what was found, in words.
        seen: names of the pages.
    """

    def __init__(self, browser: Browser, url: str, say: Callable[[str], None]) -> None:
        self._browser = browser
        self._url = url
        self._say = say
        self.faults: list[str] = []
        self.seen: list[str] = []

    def show(self, name: str, path: str, ready: str = "main", shown: str = "") -> None:
        """Look at a page in all its views, and keep their pictures.

        Args:
            name: of its sheet.
            path: its address.
            ready: a selector of what is there once it is complete.
            shown: a selector of what is scrolled to; empty for the top of the page.
        """
        pictures = []
        for size, scheme in VIEWS:
            with self.tab(size, scheme) as tab:
                tab.page.goto(path)
                tab.page.wait_for_selector(ready, timeout=60_000)
                if shown:
                    tab.page.locator(shown).scroll_into_view_if_needed()
                tab.page.wait_for_timeout(700)
                self.look(f"{name} ({size}, {scheme})", tab)
                pictures.append(Image.open(io.BytesIO(tab.page.screenshot())))
        _sheet(pictures).save(PICTURES / f"{name}.png", optimize=True)
        self.seen.append(name)
        self._say(name)

    @contextmanager
    def tab(self, size: str = "desktop", scheme: str = "light") -> Iterator[Tab]:
        """A tab for the length of the block."""
        found = Tab(self._browser, self._url, size, scheme)
        try:
            yield found
        finally:
            found.close()

    def look(self, where: str, tab: Tab) -> None:
        """Count what is wrong with what a tab shows."""
        found = [*tab.violations(), *tab.complaints]
        if tab.overflows():
            found.append("it is wider than the window")
        self.faults += [f"{where}: {each}" for each in found]


def _sheet(pictures: Sequence[Image.Image]) -> Image.Image:
    """The pictures beside each other, as high as the highest."""
    gap = 16
    width = sum(each.width for each in pictures) + gap * (len(pictures) - 1)
    sheet = Image.new("RGB", (width, max(each.height for each in pictures)), "#808080")
    at = 0
    for each in pictures:
        sheet.paste(each.convert("RGB"), (at, 0))
        at += each.width + gap
    half = sheet.resize((sheet.width // 2, sheet.height // 2), Image.Resampling.LANCZOS)
    return half.quantize(_COLOURS)


def look_at_stream(pages: Pages) -> int:
    """Look at what comes of the stream; the clicks to a played utterance."""
    pages.show("live", "/live", ".row")
    clicks = to_audio(pages)
    with pages.tab() as tab:
        tab.page.goto("/live")
        utterance = tab.page.get_attribute(".row:has-text('vote') a", "href") or ""
    pages.show("utterance", utterance, ".play:enabled")
    pages.show("words", utterance, ".network", shown=".network")
    pages.show("try", "/try")
    pages.show("tried", tried(pages, "general", "vote"), ".play:enabled")
    pages.show("blind", tried(pages, "general", "medical", blind=True), "form")
    pages.show("dead-letters", "/dead-letters", ".letters")
    with pages.tab() as tab:
        tab.page.goto("/dead-letters")
        letter = tab.page.get_attribute(".letters a", "href") or ""
    pages.show("letter", letter)
    settle(pages)
    pages.show("settled", "/dead-letters?state=all", ".letters")
    pages.show("sign-in", "/sign-in")
    pages.show("nothing", "/no-such-page", "h1")
    return clicks


def look_at_decisions(pages: Pages) -> None:
    """Look at models, rollouts and reports."""
    pages.show("models", "/models", "table")
    pages.show("model", "/models/medical", "table")
    pages.show("version", "/models/medical/2")
    pages.show("rollouts", "/rollouts")
    pages.show("rollout", "/rollouts/wards", ".sequence")
    pages.show("differing", "/rollouts/wards/differing")
    pages.show("evaluation", "/evaluation", "table")
    pages.show("report", "/evaluation/compared.html", "iframe")
    pages.show("validation", "/evaluation/validated.json", "table")
    pages.show("benchmark", "/evaluation/speed.json", "table")


def to_audio(pages: Pages) -> int:
    """From the console's address to the audio and the words of a vote; how many clicks it took."""
    with pages.tab() as tab:
        clicks = 0
        tab.page.goto("/")
        tab.page.wait_for_selector(".row:has-text('vote')")
        for selector in (".row:has-text('vote') .when", ".play:enabled"):
            tab.page.wait_for_selector(selector)
            tab.page.click(selector)
            clicks += 1
        tab.page.wait_for_selector(".play:has-text('Pause')")
        tab.page.wait_for_selector(".network tbody tr:nth-child(5)")
        pages.look("to the audio", tab)
        return clicks


def tried(pages: Pages, first: str, second: str, *, blind: bool = False) -> str:
    """Try a file; the address of what came of it."""
    with pages.tab() as tab:
        tab.page.goto("/try")
        tab.page.set_input_files("#file", SPEECH / "medical" / "medical-demo-00001.opus")
        tab.page.select_option("[name=first]", first)
        tab.page.select_option("[name=second]", second)
        if blind:
            tab.page.check("[name=blind]")
        tab.page.click("#go")
        tab.page.wait_for_url("**/try/*", timeout=60_000)
        return tab.page.url


def settle(pages: Pages) -> None:
    """Drop one letter, with its preview."""
    with pages.tab() as tab:
        tab.page.goto("/dead-letters")
        tab.page.check(".letters [name=place] >> nth=0")
        tab.page.select_option("[name=what]", "drop")
        tab.page.click("button[value=chosen]")
        tab.page.wait_for_selector("h2:has-text('1 of 1 would be dropped')")
        pages.look("the preview", tab)
        tab.page.click("main form button.primary, main form button.danger")
        tab.page.wait_for_selector("text=Dropped 1")
        pages.look("what was dropped", tab)


def run_pages(say: Callable[[str], None]) -> tuple[dict[str, Any], list[str]]:
    """Let the stream work, and look at the console; the figures, and what is wrong."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with ExitStack() as around:
        folder = Path(around.enter_context(TemporaryDirectory(prefix="chorus-pages-")))
        raw = yaml.safe_load((FOLDER / "plans.yaml").read_text())
        raw["routing"] |= {"calibration": str(CALIBRATION), "default": "vote"}
        stack = around.enter_context(LocalStack(raw, FOLDER))
        stack.start_serve()
        stack.start_broker()
        stack.wait_for_serve()
        say("the models are up")
        stack.start_worker()
        records = shipped_records()
        produce(stack.settings, records)
        producer = make_producer(stack.settings.kafka)
        for each in BAD:
            producer.send(stack.settings.kafka.topics.manifests, value=each).get(20)
        producer.close()
        watch = CommitWatch(stack.settings.kafka)
        while watch.look() < len(records) + len(BAD):
            stack.check_all()
        watch.close()
        say(f"{watch.count} records are transcribed or given up")
        browser = around.enter_context(chromium())
        url, _ = around.enter_context(console_process(stack.settings_file))
        stream = Pages(browser, url, say)
        clicks = look_at_stream(stream)
        # another console: what a registry serves would change what the Router has to have
        url, _ = around.enter_context(console_process(with_decisions(stack, folder)))
        decisions = Pages(browser, url, say)
        look_at_decisions(decisions)
    faults = [*stream.faults, *decisions.faults]
    seen = len(stream.seen) + len(decisions.seen)
    views = seen * len(VIEWS)
    figures = {"pages": seen, "views": views, "faults": len(faults), "clicks": clicks}
    if clicks > 4:
        faults.append(f"it takes {clicks} clicks to hear an utterance")
    return figures, faults


def with_decisions(stack: LocalStack, folder: Path) -> Path:
    """The stack's settings with a registry, a rollout and reports; a file in `folder`."""
    settings = yaml.safe_load(stack.settings_file.read_text())
    settings["models"]["wards"] = {"model": "medical@production"}
    settings["registry"] = {"url": str(folder / "registry")}
    settings["console"] = {"reports": str(folder / "reports")}
    fill_registry(folder / "registry", stack.settings.serve.app, "wards")
    fill_reports(folder / "reports")
    path = folder / "chorus.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    console = Console(highlight=False, soft_wrap=True, stderr=True)
    if shutil.which("chromium") is None:
        console.print("this takes Debian's chromium")
        return 1
    return exit_code_of(lambda: run_pages(console.print), FAILURES, console)


if __name__ == "__main__":
    sys.exit(main())

"""The pages on which somebody decides, in a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from schemas.settings import ModelSettings, RegistrySettings, Settings
from tests.serve_app.http.conftest import FakeRouter
from tests.workers.console.conftest import demo_settings, on_network
from tests.workers.console.deciding import fill_registry, fill_reports
from tests.workers.console.test_dead_letters import LETTERS
from tests.workers.console.topics import MemoryTopics
from workers.console.dead_letters import page as dead_letters
from workers.kafka.letter_choice import Letter

if TYPE_CHECKING:
    from tests.workers.console import browser
else:
    browser = pytest.importorskip("tests.workers.console.browser")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not browser.CHROMIUM.exists(), reason=f"there is no {browser.CHROMIUM}"),
]


class ReadLetters(list[Letter]):
    """The letters of a topic in which all can be read."""

    newer = 0


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings with a registry, a rollout that is under way, and a report."""
    settings, folder = demo_settings(), tmp_path_factory.mktemp("decided")
    fill_registry(folder / "registry", settings.serve.app, "wards")
    settings.registry = RegistrySettings(url=str(folder / "registry"))
    settings.models["wards"] = ModelSettings(model="medical@production")
    fill_reports(folder / "reports")
    settings.console.reports = str(folder / "reports")
    return settings


@pytest.fixture(scope="module")
def url(decided: Settings) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dead_letters, "DeadLetters", lambda *_, **__: ReadLetters(LETTERS))
        yield from on_network(decided, MemoryTopics(), FakeRouter())


@pytest.fixture(scope="module")
def open_tab(url: str) -> Iterator[Callable[..., browser.Tab]]:
    with browser.chromium() as chromium:

        def opened(path: str, size: str = "desktop", scheme: str = "light") -> browser.Tab:
            tab = browser.Tab(chromium, url, size, scheme)
            tab.page.goto(path)
            return tab

        yield opened


@pytest.mark.parametrize(
    ("path", "size", "scheme"),
    [
        ("/models", "desktop", "light"),
        ("/models/medical", "phone", "dark"),
        ("/models/medical", "desktop", "light"),
        ("/models/medical/1", "desktop", "dark"),
        ("/rollouts", "phone", "light"),
        ("/rollouts/wards", "phone", "dark"),
        ("/rollouts/wards", "desktop", "light"),
        ("/rollouts/wards/differing", "phone", "dark"),
        ("/dead-letters?state=all", "phone", "dark"),
        ("/dead-letters", "desktop", "light"),
        ("/dead-letters/0-0", "phone", "light"),
        ("/evaluation", "phone", "dark"),
        ("/evaluation/compared.html", "phone", "dark"),
        ("/evaluation/speed.json", "phone", "light"),
    ],
)
def test_a_page_can_be_used_by_everybody(
    open_tab: Callable[..., browser.Tab], path: str, size: str, scheme: str
) -> None:
    tab = open_tab(path, size, scheme)
    assert tab.violations() == []
    assert not tab.overflows()
    assert tab.complaints == []
    tab.close()


def test_a_report_is_seen_in_its_frame_and_runs_nothing(
    open_tab: Callable[..., browser.Tab],
) -> None:
    tab = open_tab("/evaluation/compared.html")
    inside = tab.page.frame_locator("iframe.report")
    inside.locator("h2", has_text="Worst utterances").wait_for()
    assert inside.locator("h1").evaluate("e => getComputedStyle(e).fontWeight") != ""
    assert tab.complaints == []
    tab.page.goto("/evaluation/compared.html/page")  # by itself
    tab.page.wait_for_selector("#worst")
    assert tab.complaints == []
    tab.page.goto("/evaluation/hostile.html")
    tab.page.frame_locator("iframe.report").locator("body").wait_for(state="attached")
    assert tab.page.title() == "hostile.html · Chorus"
    tab.close()


def test_a_rollout_is_held_with_the_keyboard_alone(
    open_tab: Callable[..., browser.Tab],
) -> None:
    tab = open_tab("/rollouts/wards")
    page = tab.page
    page.focus("[name=why]")
    page.keyboard.type("the ward is closed")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("h2:has-text('Paused')")
    page.wait_for_selector("text=the ward is closed")
    assert tab.complaints == []
    tab.close()


def test_what_is_opened_stays_open_when_news_come(open_tab: Callable[..., browser.Tab]) -> None:
    tab = open_tab("/rollouts/wards")
    page = tab.page
    page.click("summary:has-text('As a table')")
    page.evaluate(
        "document.querySelector('[aria-label=\"Confidence sequence\"]').id = 'old';"
        "htmx.ajax('GET', '/rollouts/wards/state', '.stack')"
    )
    page.wait_for_selector("#old", state="detached")
    page.wait_for_selector("[aria-label='Confidence sequence']:visible")
    assert tab.complaints == []
    tab.close()


def test_ticked_letters_are_previewed(open_tab: Callable[..., browser.Tab]) -> None:
    tab = open_tab("/dead-letters")
    tab.page.check("[name=place][value='0-0']")
    tab.page.check("[name=place][value='0-4']")
    tab.page.click("button[value=chosen]")
    tab.page.wait_for_selector("h2:has-text('1 of 2 would be replayed')")
    assert tab.violations() == []
    assert tab.complaints == []
    tab.close()

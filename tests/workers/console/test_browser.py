"""The pages in a real browser: what moves, what is heard, that nothing comes from elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from deploy.local import ROOT
from schemas.settings import Settings
from schemas.transcript import Word
from tests.serve_app.http.conftest import FakeRouter
from tests.workers.console.browser import CHROMIUM, Tab, chromium
from tests.workers.console.conftest import on_network
from tests.workers.console.samples import transcript, voted
from tests.workers.console.topics import TRANSCRIPTS, MemoryTopics

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}"),
]

SPEECH = ROOT / "deploy/demo/speech/medical/medical-demo-00001.opus"
#: Has the page note the words that follow the audio.
FOLLOWED = """
    new MutationObserver(changes => changes.forEach(({target}) => {
        if (target.classList.contains('now'))
            document.body.dataset.followed += ` ${target.textContent}`;
    })).observe(document.querySelector('.words'), {attributes: true, subtree: true})
"""
HOSTILE = "<img src=https://evil.example/x onerror=alert(1)><script>alert(2)</script>\u202e\x00"


@pytest.fixture(scope="module")
def url(settings: Settings, topics: MemoryTopics, router: FakeRouter) -> Iterator[str]:
    topics.say(voted(id="voted"))
    topics.say(
        voted(
            id=HOSTILE,
            pred_text=HOSTILE + "x" * 1_000_000,
            domain=HOSTILE,
            audio_filepath=HOSTILE,
            words=[Word(HOSTILE, 0, 1, 0.5)],
        )
    )
    topics.add(TRANSCRIPTS, b"\x00")
    yield from on_network(settings, topics, router)


@pytest.fixture(scope="module")
def open_tab(url: str) -> Iterator[Callable[..., Tab]]:
    """`open_tab(path)`: a tab that shows a page."""
    with chromium() as found:

        def opened(path: str, size: str = "desktop", scheme: str = "light") -> Tab:
            tab = Tab(found, url, size, scheme)
            tab.page.goto(path)
            return tab

        yield opened


@pytest.mark.parametrize(
    ("path", "size", "scheme"),
    [
        ("/live", "desktop", "light"),
        ("/live", "phone", "dark"),
        (f"/utterances/{TRANSCRIPTS}-0-0", "desktop", "light"),
        (f"/utterances/{TRANSCRIPTS}-0-0", "phone", "dark"),
        (f"/utterances/{TRANSCRIPTS}-0-1", "phone", "light"),
        (f"/utterances/{TRANSCRIPTS}-0-2", "desktop", "dark"),
        ("/try", "phone", "dark"),
        ("/try", "desktop", "light"),
        ("/sign-in", "phone", "light"),
    ],
)
def test_a_page_can_be_used_by_everybody(
    open_tab: Callable[..., Tab], path: str, size: str, scheme: str
) -> None:
    tab = open_tab(path, size, scheme)
    if path == "/live":
        tab.page.wait_for_selector(".row")
    elif path.endswith("-0-0"):
        tab.page.wait_for_selector(".play:enabled")
    assert tab.violations() == []
    assert not tab.overflows()
    assert tab.complaints == []
    tab.close()


def test_live_pauses_resumes_and_filters(
    open_tab: Callable[..., Tab], topics: MemoryTopics
) -> None:
    tab = open_tab("/live")
    page = tab.page
    page.wait_for_selector("text=voted")
    page.click("#pause")
    topics.say(transcript(id="while-paused"))
    time.sleep(0.6)  # twice as long as a page waits for rows
    assert page.query_selector("text=while-paused") is None
    page.click("#pause")
    page.wait_for_selector("text=while-paused")
    assert page.locator("text=while-paused").count() == 1
    page.fill("[name=text]", "no such words")
    page.wait_for_selector("#none:visible")
    topics.say(transcript(id="wanted", pred_text="no such WORDS as these"))
    page.wait_for_selector("text=wanted")
    assert page.locator(".row").count() == 1
    assert "text=no+such+words" in page.url
    assert tab.complaints == []
    tab.close()


def test_a_flood_is_dropped_and_counted(open_tab: Callable[..., Tab], topics: MemoryTopics) -> None:
    tab = open_tab("/live")
    page = tab.page
    page.wait_for_selector(".row")
    page.evaluate(
        "window.updates = 0; new MutationObserver(() => window.updates++)"
        ".observe(document.getElementById('rows'), {childList: true})"
    )

    def flood() -> None:
        for second in range(3):
            until = time.monotonic() + 1
            for number in range(1000):
                topics.say(transcript(id=f"flood-{second}-{number}"))
            time.sleep(max(0, until - time.monotonic()))

    flooding = threading.Thread(target=flood)
    flooding.start()
    flooding.join()
    page.wait_for_selector("text=came too fast")
    page.wait_for_selector("text=flood-2-999")
    assert 0 < page.evaluate("window.updates") < 10 * 4
    assert page.locator(".row").count() <= 200
    assert tab.complaints == []
    tab.close()


def test_from_the_start_to_a_played_word_in_three_clicks(
    open_tab: Callable[..., Tab], topics: MemoryTopics
) -> None:
    topics.say(voted(id="to-be-played"))
    tab = open_tab("/")
    page = tab.page
    page.click(".row:has-text('to-be-played') .when")
    page.wait_for_selector(".play:enabled")
    page.evaluate(FOLLOWED)
    page.click(".play")
    page.wait_for_selector("body[data-followed~=clinic]")
    page.wait_for_selector(".play:has-text('Play')")
    page.locator(".words .word", has_text="weeks").click()
    page.wait_for_selector("body[data-followed~=weeks]")
    assert page.locator(".network tbody tr").count() == 5
    page.click(".spectrum")
    page.wait_for_selector(".spectrogram canvas, .spectrogram div")
    page.locator("h1").click()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press(" ")
    page.wait_for_selector(".play:has-text('Pause')")
    assert tab.complaints == []
    tab.close()


def test_audio_that_is_not_there_says_why(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(f"/utterances/{TRANSCRIPTS}-0-1")
    tab.page.wait_for_selector(".trouble:visible")
    assert "No audio: the audio" in tab.page.inner_text(".trouble")
    assert tab.complaints == []
    tab.close()


def test_two_models_beside_each_other(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab("/try")
    page = tab.page
    page.set_input_files("#file", SPEECH)
    page.select_option("[name=first]", "general")
    page.select_option("[name=second]", "medical")
    page.click("#go")
    page.wait_for_selector(".beside article:nth-child(2) .play:enabled")
    assert page.locator(".player").count() == 2
    assert tab.violations() == []
    assert tab.complaints == []
    tab.close()


def test_what_cannot_be_decoded_is_told_on_the_page(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab("/try")
    tab.page.set_input_files(
        "#file", {"name": HOSTILE[:50], "mimeType": "audio/wav", "buffer": b"RIFF"}
    )
    tab.page.click("#go")
    tab.page.wait_for_selector("#outcome [role=alert]")
    tab.close()


def test_the_microphone_is_recorded_and_transcribed(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab("/try")
    page = tab.page
    page.click("#record")
    page.wait_for_selector("text=recording, 1 s")
    page.click("#record")
    page.wait_for_selector("text=recorded 1 s")
    page.click("#go")
    page.wait_for_selector(".play:enabled")
    assert tab.complaints == []
    tab.close()

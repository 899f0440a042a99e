"""Tries: what is sent, who is asked, and what is shown of it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from litestar.testing import TestClient
from msgspec.structs import replace

from deploy.local import ROOT
from schemas.failures import ErrorCode
from schemas.settings import Settings
from schemas.transcript import Transcript
from tests.serve_app.http.conftest import FakeRouter
from tests.workers.console.conftest import browser
from tests.workers.console.samples import transcript
from tests.workers.console.topics import MemoryTopics

SPEECH = (ROOT / "deploy/demo/speech/medical/medical-demo-00001.opus").read_bytes()
Client = TestClient[Any]


class Voting(FakeRouter):
    """Answers for the plan `vote` with what two members heard."""

    def _transcript(self, record: Any, options: Any, clip: Any) -> Transcript:
        found = super()._transcript(record, options, clip)
        if options.target != "vote":
            return found
        texts = {"pred_text_general": found.pred_text, "pred_text_legal": "something else"}
        return replace(
            found,
            plan="vote",
            selected_model="general",
            ensemble_pred_text=found.pred_text,
            ensemble_model_count=2,
            extra={**found.extra, **texts},
        )


@pytest.fixture(scope="module")
def router() -> FakeRouter:
    return Voting()


@pytest.fixture(autouse=True)
def forgotten(router: FakeRouter) -> None:
    router.calls.clear()


def try_it(client: Client, content: bytes = SPEECH, name: str = "a.opus", **form: str) -> Any:
    return client.post("/try", files={"file": (name, content)}, data=form, headers=token(client))


def token(client: Client) -> dict[str, str]:
    """Headers of a request that htmx sends."""
    found = re.search(r'"x-csrf-token": "([0-9a-f]+)"', client.get("/try").text)
    assert found is not None
    return {"x-csrf-token": found[1], "hx-request": "true"}


def test_a_file_is_transcribed_by_the_rules(client: Client, router: FakeRouter) -> None:
    answer = try_it(client, first="auto")
    page = client.get(answer.headers["hx-redirect"])
    assert page.status_code == 200
    assert "a.opus" in page.text
    assert page.text.count('class="word') >= 3
    ((_, options),) = router.calls
    assert (options.target, options.words, options.interactive) == (None, True, True)
    audio = client.get(answer.headers["hx-redirect"] + "/audio", headers={"range": "bytes=0-3"})
    assert (audio.status_code, audio.content) == (206, b"RIFF")


def test_each_member_of_an_ensemble_is_asked_for_its_words(
    client: Client, router: FakeRouter
) -> None:
    answer = try_it(client, first="vote", second="legal")
    page = client.get(answer.headers["hx-redirect"]).text
    assert [options.target for _, options in router.calls].count("general") == 1
    assert 'aria-label="Word network of vote"' in page
    assert "90%" in page
    assert page.count("<article") == 2


def test_what_fails_beside_what_does_not_says_why(client: Client, router: FakeRouter) -> None:
    router.errors = [ErrorCode.MODEL_TIMEOUT]
    page = client.get(try_it(client, first="general", second="legal").headers["hx-redirect"]).text
    assert "told to fail" in page
    assert page.count('class="player') == 1


def test_a_vote_without_names(client: Client, router: FakeRouter) -> None:
    refused = try_it(client, first="general", blind="yes")
    assert (refused.status_code, "takes two" in refused.text) == (400, True)
    where = try_it(client, first="general", second="legal", blind="yes").headers["hx-redirect"]
    page = client.get(where).text
    assert "Which is better?" in page
    assert "general" not in page
    assert "legal" not in page
    vote = {"choice": "neither", "_csrf_token": token(client)["x-csrf-token"]}
    for _ in range(2):  # the second one comes too late
        answer = client.post(f"{where}/vote", data=vote, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, where)
    shown = client.get(where).text
    assert "general" in shown
    assert "legal" in shown
    cells = re.findall(r"<td>(\d+)</td>", client.get("/try").text)
    assert cells == ["0", "0", "1"]
    wrong = client.post(f"{where}/vote", data={**vote, "choice": "third"}, follow_redirects=False)
    assert wrong.status_code == 400


@pytest.mark.parametrize(
    ("content", "form", "said"),
    [
        (b"no audio", {"first": "auto"}, "the file"),
        (b"", {"first": "auto"}, "the file"),
        (SPEECH, {"first": "no-such"}, "no such model or plan"),
        (SPEECH, {"first": ""}, "no such model or plan"),
    ],
)
def test_what_cannot_be_tried_is_refused(
    client: Client, content: bytes, form: dict[str, str], said: str
) -> None:
    answer = try_it(client, content, name="<script>.wav", **form)
    assert answer.status_code == 400
    assert said in answer.text
    assert "<script>" not in answer.text
    assert "<html" not in answer.text, "a part, to be put into the page"


def test_without_a_cluster_it_says_so(
    settings: Settings, topics: MemoryTopics, router: FakeRouter
) -> None:
    def connect() -> FakeRouter:
        raise ConnectionError("no `chorus serve` runs on this machine")

    with browser(settings, topics, connect) as client:
        answer = try_it(client)
    assert answer.status_code == 503
    assert "no `chorus serve` runs" in answer.text


def test_a_hostile_name_stays_a_name(client: Client) -> None:
    answer = try_it(client, name="\u202e<script>alert(1)</script>.wav")
    page = client.get(answer.headers["hx-redirect"]).text
    assert "<script>alert" not in page


def test_a_try_that_is_gone_is_not_found(client: Client) -> None:
    for path in ("/try/x", "/try/x/audio"):
        assert client.get(path).status_code == 404


def test_an_utterance_of_the_stream_is_asked_again(
    client: Client, router: FakeRouter, topics: MemoryTopics
) -> None:
    place = topics.say(transcript(offset=1.0, duration=2.0))
    answer = client.post(
        f"/utterances/{place}/again", data={"target": "vote"}, headers=token(client)
    )
    assert answer.status_code == 200
    assert "Word network of vote" in client.get(answer.headers["hx-redirect"]).text
    assert len(router.clips[-1]) == 32_000
    for target, path, status in (("no-such", place, 400), ("vote", "x-0-0", 404)):
        found = client.post(
            f"/utterances/{path}/again", data={"target": target}, headers=token(client)
        )
        assert found.status_code == status


def test_audio_outside_the_roots_is_not_asked_for(client: Client, topics: MemoryTopics) -> None:
    place = topics.say(transcript(audio_filepath="/etc/passwd"))
    found = client.post(
        f"/utterances/{place}/again", data={"target": "vote"}, headers=token(client)
    )
    assert found.status_code == 404

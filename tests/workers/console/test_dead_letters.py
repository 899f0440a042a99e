"""The pages of dead letters: on a real broker what acts, in memory what only counts."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from litestar.datastructures import FormMultiDict
from litestar.exceptions import ClientException

from schemas.dead_letter import DeadLetter, LetterMark, to_headers
from schemas.failures import ErrorCode, FailureClass
from schemas.settings import Settings
from tests.workers.console.browsing import HOSTILE, Person, person, signed_in
from tests.workers.console.conftest import demo_settings
from tests.workers.console.topics import Message
from tests.workers.stream.support import read_all, settings_for
from workers.broker.cluster import Cluster
from workers.console.dead_letters.asked import choice_of, fields_of, in_words
from workers.console.dead_letters.overview import MOST_SHOWN, overview_of
from workers.kafka import dead_letters
from workers.kafka.clients import make_producer
from workers.kafka.letter_choice import Choice, Letter
from workers.kafka.protocols import Record

AUDIO, JSON = ErrorCode.AUDIO_MISSING, ErrorCode.RECORD_JSON


def view(offset: int = 0, code: ErrorCode = AUDIO, **keys: Any) -> DeadLetter:
    given: dict[str, Any] = {
        "id": f"r{offset}",
        "failure": FailureClass.POISON,
        "code": code,
        "message": f"calls/{offset}.flac: no such file",
        "attempts": 1,
        "topic": "records",
        "partition": 0,
        "offset": offset,
        "group": "g",
        "timestamp": 1_790_000_000.0 + offset,
    }
    return DeadLetter(**(given | keys))


def letter(offset: int, mark: str = "", **keys: Any) -> Letter:
    message = cast(Record, Message("dead", offset, b"{}"))
    done = LetterMark(mark=mark, letter=offset, timestamp=1.0) if mark else None  # type: ignore[arg-type]
    return Letter(message, view(offset, **keys), done)


LETTERS = [
    letter(0),
    letter(1, "replayed"),
    letter(2, code=JSON),
    letter(3, "dropped", code=JSON),
    letter(4, value_omitted=9_999_999),
]


def test_letters_are_grouped_and_counted_in_one_reading() -> None:
    found = overview_of(iter(LETTERS), Choice(code=AUDIO))
    counts = [(each.code, each.open, each.replayed, each.dropped) for each in found.groups]
    assert counts == [(AUDIO, 2, 1, 0), (JSON, 1, 0, 1)]
    assert (found.matching, found.possible, found.settled, found.without_value) == (3, 1, 1, 1)
    assert found.topics == {"records": 1}
    assert found.until == {0: 5}
    assert [each.view.id for each in found.letters] == ["r4", "r1", "r0"]


def test_a_filter_is_of_class_code_text_and_state() -> None:
    def ids(state: Any = "all", **filters: Any) -> list[str]:
        return [each.view.id for each in overview_of(LETTERS, Choice(**filters), state).letters]

    assert ids("open") == ["r4", "r2", "r0"]
    assert ids("dropped", failure="poison") == ["r3"]
    assert ids(failure="suspect") == []
    assert ids(text="CALLS/1.") == ["r1"]
    assert ids(text="records-0-2") == ["r2"]


def test_only_the_latest_letters_are_kept() -> None:
    found = overview_of((letter(number) for number in range(MOST_SHOWN + 50)), Choice())
    assert found.matching == MOST_SHOWN + 50
    assert [each.view.offset for each in found.letters[:2]] == [MOST_SHOWN + 49, MOST_SHOWN + 48]
    assert len(found.letters) == MOST_SHOWN


def form(*fields: tuple[str, str]) -> FormMultiDict:
    return FormMultiDict(fields)


def test_what_comes_after_the_preview_is_not_meant() -> None:
    found = overview_of(LETTERS[:2], Choice())
    asked = form(("which", "all"), ("until", f"0:{found.until[0]}"), ("code", AUDIO))
    choice = choice_of(asked)
    assert [choice.holds(each) for each in LETTERS] == [True, True, False, False, False]
    assert choice_of(form(*fields_of(choice))) == choice


def test_ticked_letters_are_meant_whatever_they_are_called() -> None:
    choice = choice_of(form(("which", "chosen"), ("place", "0-2"), ("place", "0-0")))
    named = letter(1, id="records-0-2")  # by another's place
    assert [choice.holds(each) for each in (*LETTERS[:3], named)] == [True, False, True, False]
    assert choice_of(form(*fields_of(choice))) == choice
    assert in_words(choice) == "0-0, 0-2"


@pytest.mark.parametrize(
    "fields",
    [
        [("which", "chosen")],
        [("which", "chosen"), ("place", HOSTILE)],
        [("which", "chosen"), ("place", "0-1"), ("place", "x")],
        [("which", "all"), ("until", "0:1,x")],
    ],
)
def test_a_form_that_names_no_letters_is_refused(fields: list[tuple[str, str]]) -> None:
    with pytest.raises(ClientException):
        choice_of(form(*fields))


def test_a_line_names_no_text_that_somebody_looked_for() -> None:
    said = in_words(Choice(code=AUDIO, text="/home/ann/secret"))
    assert said == "all of audio_missing, filtered"


def test_without_kafka_the_page_says_so() -> None:
    settings = demo_settings()
    settings.kafka.bootstrap_servers = ["127.0.0.1:1"]
    settings.kafka.client = {"bootstrap_timeout_ms": 300}
    with person(settings) as user:
        assert "127.0.0.1:1" in user.see("/dead-letters", 503)


RECORDS = [
    b'{"id": "r0", "audio_filepath": "calls/0.flac"}',
    HOSTILE[:400_000].encode(),
    b"\xff\x00",
    None,
]


@pytest.fixture(scope="module")
def letters(kafka: Cluster, unique: Callable[[str], str]) -> Settings:
    """Settings with four dead letters, of which only the first one is a record."""
    stream = settings_for(kafka.bootstrap, unique, 1)
    settings = demo_settings()
    settings.kafka = stream.kafka
    producer = make_producer(settings.kafka)
    topics = settings.kafka.topics
    views = [
        view(0, topic=topics.manifests),
        view(
            1,
            JSON,
            topic=topics.manifests,
            id=HOSTILE[:300],
            message=HOSTILE[:300_000],
            keyless=True,
        ),
        view(2, JSON, topic=topics.manifests, timestamp=1e30),
        view(3, JSON, topic=topics.manifests, value_omitted=9_999_999),
    ]
    for each, value in zip(views, RECORDS, strict=True):
        headers = [("traceparent", b"00-x"), ("<script>", HOSTILE[:99].encode()), *to_headers(each)]
        producer.send(topics.dead_letters, key=b"k", value=value, headers=headers).get(20)
    producer.close()
    return settings


@pytest.fixture(scope="module")
def user(letters: Settings) -> Iterator[Person]:
    with person(letters) as found:
        yield found


def hidden(html: str) -> dict[str, str]:
    """The hidden fields of a page, without the token."""
    found = re.findall(r'<input type="hidden" name="([a-z]+)" value="([^"]*)">', html)
    return dict(found)


@pytest.mark.kafka
def test_letters_are_looked_at_previewed_replayed_edited_and_dropped(
    letters: Settings, user: Person, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "chorus.console.audit")
    seen = user.see("/dead-letters")
    assert "4 match" in seen
    assert "1e+30" in seen
    one = {"which": "chosen", "place": "0-0", "what": "replay"}
    html = user.send("/dead-letters/preview", 200, **one).text
    assert "1 of 1 would be replayed" in html
    done = user.send("/dead-letters/settle", 200, **one).text
    assert "Replayed 1" in done
    assert "1 had been replayed" in user.send("/dead-letters/settle", 200, **one).text
    seen = user.see("/dead-letters/0-0")
    assert "&#34;calls/0.flac&#34;" in seen
    assert "replayed</dt>" in seen
    assert "Edit and replay" not in seen
    told = user.told("/dead-letters/0-3/replay-edited", 400, value='{"id": "r3"}')
    assert "it would be a dead letter again" in told
    assert "audio_filepath" in told
    value = '{"id": "r3",\r\n "audio_filepath": "calls/3.flac"}'
    assert "Replayed 1" in user.send("/dead-letters/0-3/replay-edited", 200, value=value).text
    rest = hidden(user.see("/dead-letters?state=open")) | {"which": "all", "what": "drop"}
    html = user.send("/dead-letters/preview", 200, **rest).text
    assert "2 of 4 would be dropped" in html
    assert "Dropped 2" in user.send("/dead-letters/settle", 200, **hidden(html)).text
    assert "No letter matches" in user.see("/dead-letters?state=open")
    assert "edited" in user.see("/dead-letters?state=replayed")
    sent = read_all(letters, letters.kafka.topics.manifests)
    assert [json.loads(each.value)["id"] for each in sent] == ["r0", "r3"]
    assert sent[0].value == RECORDS[0]
    assert sent[0].headers[0] == ("traceparent", b"00-x")
    lines = [each.getMessage() for each in caplog.records if "audit" in each.name]
    assert '"act": "replay dead letters", "target": "0-0", "outcome": "done: 1"' in lines[0]
    assert len(lines) == 4


@pytest.mark.kafka
def test_hostile_records_are_shown_as_text(user: Person) -> None:
    assert "&lt;script&gt;" in user.see("/dead-letters?state=all")
    assert "It cannot be edited here" not in user.see("/dead-letters/0-1")  # it was dropped
    user.see("/dead-letters/0-2")
    for place in ("0-99", "9-0", "x", "%00"):
        assert "no dead letter at this place" in user.see(f"/dead-letters/{place}", 404)


@pytest.mark.kafka
def test_figures_are_open_to_who_may_not_read_records(
    letters: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = demo_settings()
    settings.kafka = letters.kafka
    with signed_in(settings, "figures", monkeypatch) as somebody:
        seen = somebody.see("/dead-letters?text=r0")
        assert "audio_missing" in seen
        assert "r0" not in seen
        somebody.see("/dead-letters/0-0", 403)
        one = {"which": "chosen", "place": "0-0", "what": "replay"}
        somebody.told("/dead-letters/settle", 403, **one)


def test_a_letter_of_a_newer_version_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    newer = (*to_headers(view(0)), ("chorus.schema-version", b"2"))
    topic = [
        Message("dead", 0, b"{}", newer),
        Message("dead", 1, b"{}", tuple(to_headers(view(1)))),
    ]
    monkeypatch.setattr(dead_letters, "read_topic", lambda *_, **__: iter(topic))
    with person(demo_settings()) as user:
        seen = user.see("/dead-letters")
        assert "1 match" in seen
        assert "1 messages were written by a newer version" in seen
        assert "calls/1.flac" in user.see("/dead-letters/0-1")
        one = {"which": "chosen", "place": "0-1", "what": "replay"}
        preview = user.send("/dead-letters/preview", 200, **one).text
        assert "None can be: 1 messages" in preview
        assert 'class="primary" disabled' in preview
        del topic[1]
        assert "There are none" not in user.see("/dead-letters")

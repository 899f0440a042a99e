"""The page of an utterance, and its audio."""

from __future__ import annotations

import io
import wave
from typing import Any

import pytest
from litestar.testing import TestClient

from schemas.channels import EACH
from schemas.settings import Settings
from schemas.transcript import ChannelTranscript, Suppressed, Word
from tests.workers.console.samples import MEMBERS, transcript, voted, words_of
from tests.workers.console.topics import TRANSCRIPTS, MemoryTopics
from workers.console.place import Place
from workers.console.utterance.network import MAX_WORDS, Member, network_of
from workers.console.utterance.view import view_of

Client = TestClient[Any]
TRACE = "0af7651916cd43dd8448eb211c80319c"
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u202e\x00\x1b"


def members(*texts: str) -> list[Member]:
    return [Member(f"m{number}", text) for number, text in enumerate(texts)]


def test_a_page_tells_what_was_heard_why_and_by_whom(client: Client, topics: MemoryTopics) -> None:
    place = topics.say(
        voted(model_version="12", failed_models={"spare": "model_timeout"}),
        ("traceparent", f"00-{TRACE}-b7ad6b7169203331-01".encode()),
    )
    page = client.get(f"/utterances/{place}").text
    for each in (TRACE, "ab" * 32, "12", "medical-hint: domain = medical", "snr_db", "24.5"):
        assert each in page
    assert "vote: ensemble of general, medical, legal, telephony, noisy" in page
    assert "spare: model_timeout" in page
    assert "<del>ate</del> <ins>eight</ins>" in page
    assert "ward" in page
    for model in MEMBERS:
        assert f'<th scope="row"><bdi>{model}</bdi></th>' in page


def test_votes_are_counted_word_by_word() -> None:
    found = network_of("the patient sat", None, members("the patient sat", "a patient", "the sat"))
    assert found is not None
    assert [(each.chosen, each.votes) for each in found.columns] == [
        ("the", 2),
        ("patient", 2),
        ("sat", 2),
    ]
    assert [each.word for each in found.columns[1].cells] == ["patient", "patient", ""]
    assert [each.agrees for each in found.columns[1].cells] == [True, True, False]


def test_a_word_that_lost_has_a_column_of_its_own() -> None:
    found = network_of("a c", None, members("a b c", "a c", "a c"))
    assert found is not None
    (lost,) = [each for each in found.columns if not each.chosen]
    assert (lost.votes, [each.word for each in lost.cells]) == (2, ["b", "", ""])


def test_words_that_are_written_in_other_ways_agree() -> None:
    found = network_of("take 5 mg", None, members("take five mg", "Take 5 mg."))
    assert found is not None
    assert [each.votes for each in found.columns] == [2, 2, 2]


def test_chosen_words_have_their_times_and_members_their_confidences() -> None:
    words = [Word("yes", 0.1, 0.5, 0.8), Word("sir", 0.5, 0.9, 0.7)]
    heard = [Member("a", "yes sir", words), Member("b", "yes")]
    found = network_of("yes sir", words, heard)
    assert found is not None
    assert [(e.start, e.end, e.confidence) for e in found.columns] == [
        (0.1, 0.5, 0.8),
        (0.5, 0.9, 0.7),
    ]
    assert [each.confidence for each in found.columns[0].cells] == [0.8, None]


def test_a_long_text_has_no_network(settings: Settings) -> None:
    long = "word " * (MAX_WORDS + 1)
    (heard,) = view_of(voted(ensemble_pred_text=long), settings).heard
    assert heard.network is None
    assert len(heard.members) == len(MEMBERS)


def test_the_texts_of_a_record_are_no_members(settings: Settings) -> None:
    (heard,) = view_of(transcript(extra={"pred_text_mine": "earlier work"}), settings).heard
    assert heard.members == ()


def test_each_channel_has_its_own_network(settings: Settings) -> None:
    channels = [
        ChannelTranscript(
            channel=n,
            text="yes",
            selected_model="a",
            rule="default",
            pred_texts={"a": "yes", "b": said},
        )
        for n, said in enumerate(("yes", "no"))
    ]
    words = [Word("yes", 0.1, 0.4, 0.9, channel=n) for n in range(2)]
    found = view_of(transcript(channel=EACH, channels=channels, words=words), settings)
    assert [each.channel for each in found.heard] == [0, 1]
    votes = [each.network.columns[0].votes for each in found.heard if each.network]
    assert votes == [2, 1]


def test_written_words_keep_their_times(settings: Settings) -> None:
    found = view_of(
        transcript(
            heard_text="five milligrams", pred_text="5 mg", words=words_of("five milligrams")
        ),
        settings,
    )
    assert found.words is not None
    assert [each.word for each in found.words] == ["5", "mg"]


@pytest.mark.parametrize(
    "keys",
    [
        {"words": None},
        {"pred_text": "", "words": []},
        {"confidence": None, "words": [Word("a", 0, 1)]},
        {"text": "", "wer": None, "word_errors": 12},
        {"suppressed": [Suppressed(text="hm", start=1.0, end=2.0)]},
        {"plan": "gone", "processing_tier": "standard", "screening_wer": 3.0, "arm": "candidate"},
        {"rule": "default"},
        {"rule": "requested", "fallback_from": "vote"},
        {"channel": 1, "audio_measures": {"channel": 1.0, "lang": "en"}},
    ],
)
def test_every_kind_of_transcript_has_a_page(
    client: Client, topics: MemoryTopics, keys: dict[str, Any]
) -> None:
    assert client.get(f"/utterances/{topics.say(transcript(**keys))}").status_code == 200


def test_hostile_texts_stay_texts(client: Client, topics: MemoryTopics) -> None:
    keys = {"id", "audio_filepath", "pred_text", "heard_text", "selected_model", "model_sha256"}
    keys |= {
        "model_version",
        "rule",
        "plan",
        "fallback_from",
        "domain",
        "lang",
        "conditions",
        "text",
    }
    place = topics.say(
        voted(
            **dict.fromkeys(keys, HOSTILE),
            ensemble_pred_text=HOSTILE,
            rule_values={HOSTILE: HOSTILE},
            audio_measures={HOSTILE: HOSTILE},
            failed_models={HOSTILE: HOSTILE},
            words=[Word(HOSTILE, 0, 1, 0.5)],
            extra={HOSTILE: {HOSTILE: [HOSTILE]}, f"pred_text_{HOSTILE}": HOSTILE},
        ),
        ("traceparent", HOSTILE.encode()),
        (HOSTILE, None),
    )
    page = client.get(f"/utterances/{place}")
    assert page.status_code == 200
    assert "<script>alert" not in page.text
    assert "<img" not in page.text
    assert "\x00" not in page.text
    assert "\x1b" not in page.text


def test_a_huge_word_makes_a_small_page(client: Client, topics: MemoryTopics) -> None:
    huge = "x" * 1_000_000
    place = topics.say(voted(pred_text=huge, ensemble_pred_text=huge, words=[Word(huge, 0, 1)]))
    page = client.get(f"/utterances/{place}")
    assert page.status_code == 200
    assert len(page.content) < 100_000


@pytest.mark.parametrize(
    "place",
    ["x", f"{TRANSCRIPTS}-0-99", f"{TRANSCRIPTS}-7-0", "asr.metrics-0-0", f"{TRANSCRIPTS}-0--1"],
)
def test_what_is_not_there_is_not_found(client: Client, topics: MemoryTopics, place: str) -> None:
    for path in (f"/utterances/{place}", f"/utterances/{place}/audio"):
        assert client.get(path).status_code == 404


@pytest.mark.parametrize("value", [b"\x00", b"{}", b""])
def test_what_is_no_transcript_says_so(client: Client, topics: MemoryTopics, value: bytes) -> None:
    place = topics.add(TRANSCRIPTS, value)
    found = client.get(f"/utterances/{place}")
    assert found.status_code == 404
    assert "cannot be read" in found.text


def test_kafka_that_is_away_is_named(client: Client, topics: MemoryTopics) -> None:
    topics.down = ConnectionError("no Kafka broker answers at nowhere:9092")
    found = client.get(f"/utterances/{TRANSCRIPTS}-0-0")
    assert found.status_code == 503
    assert "nowhere:9092" in found.text
    topics.down = None


def test_audio_is_the_segment_as_wav(client: Client, topics: MemoryTopics) -> None:
    place = topics.say(transcript(offset=1.0, duration=2.0))
    found = client.get(f"/utterances/{place}/audio")
    assert found.headers["content-type"] == "audio/wav"
    with wave.open(io.BytesIO(found.content)) as reader:
        assert (reader.getframerate(), reader.getnchannels()) == (16_000, 1)
        assert reader.getnframes() == 32_000


@pytest.mark.parametrize(
    ("asked", "status", "content"),
    [
        ("bytes=0-3", 206, b"RIFF"),
        ("bytes=8-11", 206, b"WAVE"),
        ("bytes=0-99999999999", 206, None),
        ("bytes=4-", 206, None),
        ("bytes=-4", 206, None),
        ("bytes=99999999-", 416, b""),
        ("bytes=5-2", 416, b""),
        ("bytes=-", 200, None),
        ("bytes=0-1,4-5", 200, None),
        ("rows=0-1", 200, None),
        ("bytes=١-٢", 200, None),
    ],
)
def test_ranges_of_audio(
    client: Client, topics: MemoryTopics, asked: str, status: int, content: bytes | None
) -> None:
    path = f"/utterances/{topics.say(transcript())}/audio"
    whole = client.get(path).content
    found = client.get(path, headers=[(b"range", asked.encode())])
    assert found.status_code == status
    if content is not None:
        assert found.content == content
    if status == 206:
        first, last, size = (
            int(each) for each in found.headers["content-range"][6:].replace("/", "-").split("-")
        )
        assert found.content == whole[first : last + 1]
        assert size == len(whole)


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../../../../etc/passwd", "no/such.wav", "https://evil.example/a.wav", "\x00"],
)
def test_audio_is_read_under_the_roots_alone(
    client: Client, topics: MemoryTopics, path: str
) -> None:
    found = client.get(f"/utterances/{topics.say(transcript(audio_filepath=path))}/audio")
    assert found.status_code == 404
    assert path not in found.text


def test_places_are_read_as_they_are_written() -> None:
    for place in (Place("asr.transcripts", 0, 17), Place("a-b-1", 12, 0)):
        assert Place.parse(str(place)) == place
    for text in ("", "t", "t-1", "t-x-1", "t-1-1 ", "t/../x-1-1", "t-١-1", f"{'t' * 250}-0-0"):
        assert Place.parse(text) is None

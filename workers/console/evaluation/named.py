"""The utterances that a report names, and where the stream has transcribed them."""

from __future__ import annotations

from html.parser import HTMLParser

import msgspec

from schemas.transcript import decode_transcript
from workers.console.place import Place
from workers.console.recent import recent
from workers.console.topics import Topics

#: Of a report, at most.
_MOST = 500


def named_in(html: str) -> list[str]:
    """The ids of the worst utterances of a report, each once."""
    parser = _Worst()
    parser.feed(html)
    return list(dict.fromkeys(parser.found))[:_MOST]


class _Worst(HTMLParser):
    """Collects what is in `code` within the section of the worst utterances."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside = self._code = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See `HTMLParser`."""
        if tag == "section":
            self._inside = ("id", "worst") in attrs
        elif tag == "code" and self._inside:
            self._code = True
            self.found.append("")

    def handle_endtag(self, tag: str) -> None:
        """See `HTMLParser`."""
        if tag == "section":
            self._inside = False
        elif tag == "code":
            self._code = False

    def handle_data(self, data: str) -> None:
        """See `HTMLParser`."""
        if self._code:
            self.found[-1] += data


def place_of(wanted: str, topics: Topics, topic: str, last: int) -> Place | None:
    """Where the latest transcript of a record is; None if it is not among the last ones. Blocks.

    Args:
        wanted: the record's id, or its file.
        topics: reads Kafka.
        topic: of the transcripts.
        last: how many are looked at.

    Raises:
        Exception: as `Topics.follow`.
    """
    found = None
    for message in recent(topics, topic, last):
        try:
            transcript = decode_transcript(message.value or b"")
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if wanted in (transcript.id, transcript.audio_filepath):
            found = Place(message.topic, message.partition, message.offset)
    return found

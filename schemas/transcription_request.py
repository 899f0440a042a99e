"""What a request of the HTTP API asks for: OpenAI's parameters, and what Chorus adds."""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.channels import Channel

ResponseFormat = Literal["json", "text", "srt", "vtt", "verbose_json"]
Granularity = Literal["word", "segment"]


class SubtitleShape(msgspec.Struct, frozen=True, kw_only=True):
    """How much a subtitle holds; by default as in the guidelines of the BBC and Netflix.

    Attributes:
        line_width: Most characters of a line.
        line_count: Most lines.
        shortest_s: Seconds for which a subtitle is shown at least, where the next one allows it.
    """

    line_width: int = 42
    line_count: int = 2
    shortest_s: float = 1.0


class TranscriptionRequest(msgspec.Struct, kw_only=True, frozen=True):
    """The parameters of a transcription request, without its file.

    Attributes:
        model: A model of the settings, a plan, "auto" for the routing rules, or an alias of one of
            these. ``NAME:VERSION`` is a model as long as it serves that version.
        language: BCP 47 language tag; a hint for the routing rules and the models.
        phrases: Words and phrases from `prompt` and `keywords[]` to bias recognition towards.
        channel: Which channel of the file; None for what the settings say.
        response_format: Format of the response.
        granularities: Which time stamps a "verbose_json" response has.
        logprobs: Whether a "json" response has the log probability of each word.
        stream: Whether the response is a stream of server-sent events.
        subtitles: How much a subtitle, or a segment, holds.
        without_effect: Why a parameter that was accepted has no effect, or not all of it, by name.
    """

    model: str
    language: str | None = None
    phrases: tuple[str, ...] = ()
    channel: Channel | None = None
    response_format: ResponseFormat = "json"
    granularities: frozenset[Granularity] = frozenset({"segment"})
    logprobs: bool = False
    stream: bool = False
    subtitles: SubtitleShape = SubtitleShape()
    without_effect: dict[str, str] = {}

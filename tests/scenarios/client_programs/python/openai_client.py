"""OpenAI's client for Python, unchanged, and strict: it raises for a response of another type."""

from pathlib import Path
from typing import Any

import openai
from openai import OpenAI
from say import PROMPT, file, key, refused, say, text, url


def with_key(api_key: str) -> OpenAI:
    return OpenAI(base_url=url, api_key=api_key, max_retries=0, _strict_response_validation=True)


def ask(client: OpenAI | None = None, **more: Any) -> Any:
    given = {"file": Path(file), "model": "whisper-1", **more}
    return (client or CLIENT).audio.transcriptions.create(**given)


def stream() -> bool:
    *deltas, done = list(ask(stream=True))
    return (
        "".join(each.delta for each in deltas) == done.text == text and done.usage.type == "tokens"
    )


def verbose() -> bool:
    granularities = ["word", "segment"]
    found = ask(response_format="verbose_json", timestamp_granularities=granularities)
    return found.text == text and len(found.words) == 3 and bool(found.segments)


CLIENT = with_key(key)
NAME = "Systran/faster-whisper-large-v3"
say("json", lambda: ask().text == text)
say("alias with a slash", lambda: ask(model=NAME).text == text)
say(
    "prompt, temperature, language",
    lambda: ask(prompt=PROMPT, temperature=0.2, language="en").text == text,
)
say("log probabilities", lambda: len(ask(include=["logprobs"]).logprobs) == 3)
say("verbose_json", verbose)
say("text", lambda: ask(response_format="text").strip() == text)
say("srt", lambda: ask(response_format="srt").startswith("1\n00:00:00,"))
say("vtt", lambda: ask(response_format="vtt").startswith("WEBVTT"))
say("stream", stream)
say("models", lambda: "whisper-1" in [each.id for each in CLIENT.models.list()])
say("model", lambda: CLIENT.models.retrieve(NAME).id == NAME)
say("400", lambda: refused(lambda: ask(language="no language"), openai.BadRequestError, 400))
say("404", lambda: refused(lambda: ask(model="nobody"), openai.NotFoundError, 404))
say("401", lambda: refused(lambda: ask(with_key("wrong")), openai.AuthenticationError, 401))

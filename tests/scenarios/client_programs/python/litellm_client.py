"""LiteLLM, unchanged; its errors are those of OpenAI's client, or inherit from them."""

import os
from pathlib import Path
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # prices are nothing to look up here

import litellm
import openai
from say import PROMPT, file, key, refused, say, text, url

litellm.suppress_debug_info = True


def ask(**more: Any) -> Any:
    with Path(file).open("rb") as opened:
        given = {"model": "openai/whisper-1", "api_base": url, "api_key": key, "max_retries": 0}
        return litellm.transcription(file=opened, **{**given, **more})


def verbose() -> bool:
    granularities = ["word", "segment"]
    found = ask(response_format="verbose_json", timestamp_granularities=granularities)
    return found.text == text and len(found["words"]) == 3 and bool(found["segments"])


say("json", lambda: ask().text == text)
say("alias with a slash", lambda: ask(model="openai/Systran/faster-whisper-large-v3").text == text)
say(
    "prompt, temperature, language",
    lambda: ask(prompt=PROMPT, temperature=0.2, language="en").text == text,
)
say("verbose_json", verbose)
say("text", lambda: ask(response_format="text").text.strip() == text)
say("srt", lambda: ask(response_format="srt").text.startswith("1\n00:00:00,"))
say("vtt", lambda: ask(response_format="vtt").text.startswith("WEBVTT"))
say("400", lambda: refused(lambda: ask(language="no language"), openai.BadRequestError, 400))
say("404", lambda: refused(lambda: ask(model="openai/nobody"), openai.NotFoundError, 404))
say("401", lambda: refused(lambda: ask(api_key="wrong"), openai.AuthenticationError, 401))

"""requests, unchanged."""

from pathlib import Path
from typing import Any

import requests
from say import PROMPT, file, key, say, text, url

SESSION = requests.Session()
SESSION.headers["Authorization"] = f"Bearer {key}"
AUDIO = Path(file).read_bytes()


def ask(files: Any = None, *, ok: bool = True, **options: Any) -> Any:
    given = {"file": ("a.wav", AUDIO)} if files is None else files
    found = SESSION.post(f"{url}/audio/transcriptions", files=given, timeout=60, **options)
    if ok:
        found.raise_for_status()
    return found


def opened() -> bool:
    with Path(file).open("rb") as audio:
        return bool(ask({"file": audio}).json()["text"] == text)


def events() -> bool:
    with ask(data={"stream": "true"}, stream=True) as found:
        return any(b"transcript.text.done" in each for each in found.iter_lines())


def verbose() -> bool:
    fields = {"response_format": "verbose_json", "timestamp_granularities[]": ["word", "segment"]}
    found = ask(data=fields).json()
    return len(found["words"]) == 3 and bool(found["segments"])


def manifest() -> bool:
    lines = (each for each in [b'{"audio_filepath": ', b'"absent.wav"}\n'])
    return b"audio_missing" in SESSION.post(f"{url}/manifests", data=lines, timeout=60).content


say("an open file", opened)
say("bytes", lambda: ask({"file": AUDIO}).json()["text"] == text)
say("no file name", lambda: ask({"file": (None, AUDIO)}).json()["text"] == text)
say("a name in Unicode", lambda: ask({"file": ("naïve „ü“.wav", AUDIO)}).json()["text"] == text)
say(
    "fields as files",
    lambda: ask({"file": ("a", AUDIO), "model": (None, "auto")}).json()["text"] == text,
)
say("values of Python", lambda: ask(data={"stream": False, "temperature": 0.0}).ok)
say("a prompt", lambda: ask(data={"prompt": PROMPT, "language": "en"}).json()["text"] == text)
say("verbose_json", verbose)
say("events", events)
say("a manifest in chunks", manifest)
say("JSON instead of a form", lambda: ask({}, ok=False, json={"file": "a"}).status_code == 415)
say("404", lambda: ask(ok=False, data={"model": "nobody"}).status_code == 404)

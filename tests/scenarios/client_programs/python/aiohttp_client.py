"""aiohttp, unchanged."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
from say import file, key, say, text, url

AUDIO = Path(file).read_bytes()


def form(name: str | None = "a.wav", **fields: str) -> aiohttp.FormData:
    made = aiohttp.FormData()
    made.add_field("file", AUDIO, filename=name)
    for field, value in fields.items():
        made.add_field(field, value)
    return made


def client() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"})


async def ask(data: Any, path: str = "/audio/transcriptions") -> tuple[int, str]:
    async with client() as session, session.post(url + path, data=data) as found:
        return found.status, await found.text()


async def heard(data: Any) -> bool:
    status, body = await ask(data)
    return status == 200 and text in body


async def writer() -> bool:
    with aiohttp.MultipartWriter("form-data") as made:
        made.append(AUDIO).set_content_disposition("form-data", name="file", filename="a.wav")
    return await heard(made)


async def opened() -> bool:
    with Path(file).open("rb") as audio:
        return await heard({"file": audio, "model": "auto"})


async def at_once() -> bool:
    return all(await asyncio.gather(*[heard(form()) for _ in range(8)]))


async def manifest() -> bool:
    _, body = await ask(b'{"audio_filepath": "absent.wav"}\n', "/manifests")
    return "audio_missing" in body


async def refused() -> bool:
    status, body = await ask(form(model="nobody"))
    return status == 404 and "model_not_found" in body


def run(check: Callable[[], Awaitable[bool]]) -> Callable[[], object]:
    return lambda: asyncio.run(check())  # type: ignore[arg-type]


say("a form", run(lambda: heard(form())))
say("no file name", run(lambda: heard(form(None))))
say("a name in Unicode", run(lambda: heard(form("naïve „ü“.wav"))))
say("an open file", run(opened))
say("a writer of parts", run(writer))
say("a text in Unicode", run(lambda: heard(form(prompt="Frau Müller\r\nHerr Wäß"))))
say("events", run(lambda: heard(form(stream="true"))))
say("eight at once", run(at_once))
say("a manifest", run(manifest))
say("404", run(refused))

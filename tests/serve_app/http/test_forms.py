"""Forms as they arrive: whole, in crumbs, cut, lying, slow and too large."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.http.errors import ApiError
from serve_app.http.forms import MAX_FIELD_BYTES, MAX_FIELDS, Form, read_form
from tests.serve_app.http.conftest import UNHURRIED, unnamed_files

BOUNDARY = "edge"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"
AUDIO = b"RIFF\r\n--edg\r\n\r\n--\x00\xff\r"


def part(name: str, content: bytes, *headers: str, filename: str | None = None) -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"'
    if filename is not None:
        disposition += f'; filename="{filename}"'
    head = "\r\n".join([f"--{BOUNDARY}", disposition, *headers])
    return head.encode() + b"\r\n\r\n" + content + b"\r\n"


def body(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


PLAIN = body(
    part("model", b"auto"), part("file", AUDIO, filename="a.wav"), part("x[]", b"\xc3\xa9")
)


async def arriving(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def read(*chunks: bytes, content_type: str = MULTIPART, **limits: Any) -> Form:
    limits = {"max_bytes": 1 << 20, "timeout_s": 20.0, **limits}
    return await read_form(arriving(chunks), {"content-type": content_type}, **limits)


async def contents(*chunks: bytes, **options: Any) -> tuple[dict[str, list[str]], bytes | None]:
    """The fields, and the file, of the form; it is closed."""
    form = await read(*chunks, **options)
    try:
        return form.fields, None if form.file is None else os.read(form.file.fd, 1 << 20)
    finally:
        form.close()


async def refused(*chunks: bytes, **options: Any) -> ApiError:
    before = unnamed_files()
    with pytest.raises(ApiError) as caught:
        await read(*chunks, **options)
    assert unnamed_files() <= before
    return caught.value


def cut_at(data: bytes, places: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(places), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


async def test_what_a_real_client_sends() -> None:
    fields = {"model": "auto", "timestamp_granularities[]": ["word", "segment"], "prompt": "é\n"}
    files = {"file": ('na"me\\é.wav', AUDIO, "audio/wav")}
    sent = httpx.Request("POST", "http://test", data=fields, files=files)
    found, file = await contents(sent.read(), content_type=sent.headers["content-type"])
    assert found == {
        "model": ["auto"],
        "timestamp_granularities[]": ["word", "segment"],
        "prompt": ["é\n"],
    }
    assert file == AUDIO


async def test_chunks_may_end_anywhere() -> None:
    expected = await contents(PLAIN)
    assert expected == ({"model": ["auto"], "x[]": ["é"]}, AUDIO)
    for place in range(len(PLAIN) + 1):
        assert await contents(*cut_at(PLAIN, [place])) == expected, place
    assert await contents(*cut_at(PLAIN, range(len(PLAIN)))) == expected


CRUMBS = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b"--", b"\r\n--", b"\r\n--edg", b"e", b"\x00\xff"])
    | st.binary(max_size=20)
).map(b"".join)
CONTENTS = CRUMBS.filter(lambda data: b"\r\n--edge" not in b"\r\n" + data + b"\r\n")


@UNHURRIED
@given(st.lists(CONTENTS, max_size=3), CONTENTS, st.data())
def test_contents_come_through_whatever_they_look_like(
    values: Sequence[bytes], file: bytes, data: st.DataObject
) -> None:
    texts = [each.decode(errors="replace") for each in values]
    parts = [part("x", each.encode()) for each in texts]
    parts.insert(len(parts) // 2, part("file", file, filename="a"))
    sent = body(*parts)
    places = data.draw(st.lists(st.integers(0, len(sent)), max_size=20))
    assert asyncio.run(contents(*cut_at(sent, places))) == ({"x": texts} if texts else {}, file)


async def test_what_stands_around_the_form_is_nothing() -> None:
    framed = b"preamble\r\n" + PLAIN + b"epilogue\r\n--edge\r\n"
    for place in range(len(framed) + 1):
        assert await contents(*cut_at(framed, [place])) == await contents(PLAIN), place


async def test_an_empty_file_is_a_file() -> None:
    form = await read(body(part("file", b"", filename="")))
    assert form.file is not None
    assert form.file.size == 0
    form.close()


async def test_no_part_at_all() -> None:
    assert await contents(body()) == ({}, None)


async def test_the_size_is_that_of_the_file() -> None:
    large = os.urandom(300_000)
    form = await read(*cut_at(body(part("file", large, filename="a")), range(0, 300_000, 65_536)))
    assert form.file is not None
    assert form.file.size == 300_000
    assert os.read(form.file.fd, 400_000) == large
    form.close()


async def test_a_closed_form_keeps_no_descriptor() -> None:
    before = unnamed_files()
    form = await read(PLAIN)
    assert not unnamed_files() <= before
    form.close()
    form.close()
    assert unnamed_files() <= before


async def test_a_form_that_is_cut_off() -> None:
    for length in range(len(PLAIN) - len("\r\n")):
        error = await refused(PLAIN[:length])
        assert (error.status, error.code) == (400, "invalid_request"), length


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        (body(part("file", b"1", filename="a"), part("file", b"2", filename="b")), "file"),
        (body(part("file", b"1", filename="a"), part("audio", b"2", filename="b")), "file"),
        (body(part("file", b"1"), part("file[]", b"2")), "file"),
        (body(part("file", b"1", filename="a"), part("prompt", b"\xff\xfe")), "prompt"),
        (body(part("file", b"1", filename="a"), part("p", b"x" * (MAX_FIELD_BYTES + 1))), "p"),
        (body(part("n" * 5000, b"x")), None),
        (body(part("n" * 200, b"\xff")), "n" * 100),
        (body(*[part("x", b"1")] * (MAX_FIELDS + 1)), None),
        (body(*[part(f"x{n}", b"1") for n in range(10_000)]), None),
        (body(part("x", b"1", *[f"X-{n}: 1" for n in range(20)])), None),
        (body(part("x", b"1", "X: " + "x" * 5000)), None),
        (body(part("x", b"12345", "Content-Length: 3")), None),
        (body(part("x", b"12345", "Content-Length: 9")), None),
        (body(part("x", b"1", "Content-Length: -1")), None),
        (body(part("x", b"1", "no header")), None),
        (PLAIN.replace(b"form-data", b"attachment", 1), None),
        (PLAIN.replace(b"Content-Disposition", b"X-Disposition", 1), None),
        (PLAIN.replace(b"\r\n", b"\n"), None),
        (PLAIN.replace(b"--edge", b"--other"), None),
        (b"", None),
        (b"model=auto", None),
        (b"--edge", None),
        (b"x--edge\r\n" + PLAIN, None),
        (b"\x00" * 5000, None),
    ],
)
async def test_a_form_that_lies(sent: bytes, param: str | None) -> None:
    for chunks in ([sent], cut_at(sent, range(0, len(sent), 1000))):
        error = await refused(*chunks)
        assert (error.status, error.param, error.code) == (400, param, "invalid_request")


async def test_the_longest_field_and_the_most_fields() -> None:
    longest = "x" * MAX_FIELD_BYTES
    assert await contents(body(part("p", longest.encode()))) == ({"p": [longest]}, None)
    many = [part("x", b"1")] * MAX_FIELDS
    assert await contents(body(*many)) == ({"x": ["1"] * MAX_FIELDS}, None)


@UNHURRIED
@given(st.lists(st.binary(max_size=200) | st.sampled_from([PLAIN, PLAIN[:90], b"\r\n--edge\r\n"])))
def test_garbage_is_a_form_or_a_refusal(chunks: list[bytes]) -> None:
    before = unnamed_files()
    try:
        asyncio.run(contents(*chunks))
    except ApiError as error:
        assert error.status == 400  # noqa: PT017  both ways are right
    assert unnamed_files() <= before


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("", 415),
        ("application/json", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/mixed; boundary=edge", 415),
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=", 400),
        ('multipart/form-data; boundary=""', 400),
        ("multipart/form-data; boundary=" + "x" * 201, 400),
        ('multipart/form-data; boundary="a\nb"', 400),
        ("multipart/form-data; charset=utf-8", 400),
    ],
)
async def test_a_body_of_another_kind_is_not_read(content_type: str, status: int) -> None:
    async def unread() -> AsyncIterator[bytes]:
        pytest.fail("it was read")
        yield b""

    with pytest.raises(ApiError) as caught:
        await read_form(unread(), {"content-type": content_type}, max_bytes=1, timeout_s=1)
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("headers", "status", "code", "said"),
    [
        ({"content-length": "11"}, 413, "audio_too_large", "more than 10 bytes"),
        ({"content-encoding": "gzip"}, 415, "unsupported_encoding", "Content-Encoding: gzip"),
    ],
)
async def test_headers_alone_can_refuse_a_body(
    headers: dict[str, str], status: int, code: str, said: str
) -> None:
    async def unread() -> AsyncIterator[bytes]:
        pytest.fail("it was read")
        yield b""

    with pytest.raises(ApiError, match=said) as caught:
        await read_form(unread(), {"content-type": MULTIPART, **headers}, max_bytes=10, timeout_s=1)
    assert (caught.value.status, caught.value.code) == (status, code)


@pytest.mark.parametrize(
    ("name", "filename"),
    [("file", None), ("file[]", None), ("audio", "a.wav"), ("audio_file", ""), ("é", "a.wav")],
)
async def test_a_file_by_another_name(name: str, filename: str | None) -> None:
    sent = body(part("model", b"auto"), part(name, AUDIO, filename=filename))
    assert await contents(sent) == ({"model": ["auto"]}, AUDIO)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "cp1252", "gbk", "shift-jis", "utf-16"])
async def test_a_file_name_in_any_encoding(encoding: str) -> None:
    name = {"latin-1": "Müller é", "cp1252": "Müller €"}.get(encoding, "会議") + ".wav"
    raw = name.encode(encoding).replace(b"\n", b"").replace(b"\r", b"")
    sent = body(part("file", AUDIO, filename="name")).replace(b'"name"', b'"' + raw + b'"')
    assert await contents(sent) == ({}, AUDIO)


@pytest.mark.parametrize(
    "content_type",
    [
        "Multipart/Form-Data; boundary=edge",
        'multipart/form-data; charset=utf-8; boundary="edge"',
        "multipart/form-data;boundary=edge",
    ],
)
async def test_spellings_of_the_content_type(content_type: str) -> None:
    assert await contents(PLAIN, content_type=content_type) == await contents(PLAIN)


async def test_no_more_is_read_than_may_arrive() -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        yield part("file", b"", filename="a").removesuffix(b"\r\n")
        while True:
            taken += 1000
            yield b"\x00" * 1000

    before = unnamed_files()
    with pytest.raises(ApiError) as caught:
        await read_form(endless(), {"content-type": MULTIPART}, max_bytes=10_000, timeout_s=20)
    assert (caught.value.status, caught.value.code) == (413, "audio_too_large")
    assert taken <= 11_000
    assert unnamed_files() <= before


async def test_as_many_bytes_as_may_arrive() -> None:
    assert await contents(PLAIN, max_bytes=len(PLAIN)) == await contents(PLAIN)
    assert (await refused(PLAIN, max_bytes=len(PLAIN) - 1)).status == 413


async def test_a_body_that_does_not_arrive() -> None:
    async def stalling() -> AsyncIterator[bytes]:
        yield PLAIN[:-10]
        await asyncio.Event().wait()

    before = unnamed_files()
    with pytest.raises(ApiError) as caught:
        await read_form(stalling(), {"content-type": MULTIPART}, max_bytes=1 << 20, timeout_s=0.05)
    assert (caught.value.status, caught.value.code) == (408, "upload_timeout")
    assert unnamed_files() <= before


async def test_a_connection_that_breaks() -> None:
    async def breaking() -> AsyncIterator[bytes]:
        yield PLAIN[:-10]
        raise ConnectionError

    before = unnamed_files()
    with pytest.raises(ConnectionError):
        await read_form(breaking(), {"content-type": MULTIPART}, max_bytes=1 << 20, timeout_s=20)
    assert unnamed_files() <= before


async def test_a_file_is_not_closed_while_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the number could be another upload's by the time of the write."""
    write, wrong = os.write, list[OSError]()
    writing, released, written = threading.Event(), threading.Event(), threading.Event()

    def slow_write(fd: int, data: Any) -> int:
        writing.set()
        released.wait(20)
        try:
            return write(fd, data)
        except OSError as error:
            wrong.append(error)
            raise
        finally:
            written.set()

    monkeypatch.setattr(os, "write", slow_write)
    reading = asyncio.create_task(read(PLAIN))
    await asyncio.to_thread(writing.wait, 20)
    reading.cancel()
    await asyncio.sleep(0.05)
    released.set()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert written.wait(20)
    assert wrong == []


@pytest.mark.parametrize(
    ("charset", "content"),
    [
        ("ISO-8859-1", "Müller".encode("latin-1")),
        ("windows-1252", "Müller".encode("cp1252")),
        ("UTF-16", "Müller".encode("utf-16")),
        ("utf-8", "Müller".encode()),
    ],
)
async def test_a_field_may_name_its_encoding(charset: str, content: bytes) -> None:
    sent = part("prompt", content, f"Content-Type: text/plain; charset={charset}")
    fields, _ = await contents(body(sent))
    assert fields == {"prompt": ["Müller"]}


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (part("file", b"UklGRg==", "Content-Transfer-Encoding: base64", filename="a"), "base64"),
        (part("prompt", b"M=C3=BC", "Content-Transfer-Encoding: Quoted-Printable"), "quoted-pri"),
        (part("file", b"x", "Content-Type: multipart/mixed; boundary=y"), "several files in one"),
        (part("x", b"\\ud800", "Content-Type: text/plain; charset=unicode_escape"), "unknown enco"),
        (part("x", b"x", "Content-Type: text/plain; charset=nonsense"), "unknown encoding"),
        (part("x", b"\xfc", "Content-Type: text/plain; charset=us-ascii"), "is not in ascii"),
    ],
)
async def test_a_part_that_is_not_what_it_stands_for_is_refused(sent: bytes, said: str) -> None:
    error = await refused(body(sent))
    assert error.status == 400
    assert said in error.message


@pytest.mark.parametrize(
    "header",
    [
        "Content-Transfer-Encoding: binary",
        "Content-Transfer-Encoding: 7BIT",
        "Content-Type: application/octet-stream; charset=binary",
    ],
)
async def test_a_part_as_it_stands(header: str) -> None:
    sent = part("file", AUDIO, header, filename="a.wav")
    assert await contents(body(sent)) == ({}, AUDIO)

"""Kinds of hostile requests: how each is sent, and the statuses that it may be answered with.

To add a kind, add a line to one of the tables. They are sent over bare sockets: no client library
would let most of them out.
"""

from __future__ import annotations

import bz2
import contextlib
import functools
import gzip
import http.client
import io
import json
import lzma
import select
import socket
import struct
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import NamedTuple

import av
import numpy as np
import pyarrow

from serve_app.audio.clip import Clip
from tests.scenarios import audio_files as files
from tests.scenarios.bad_kinds import AUDIO, MAX_SECONDS, NOT_JSON, PATHS, WRONG_KEYS, record

#: The clients' keys. NARROW may ask once at a time, POOR has a second of audio a minute.
MAIN, NARROW, POOR = b"key-of-main", b"key-of-narrow", b"key-of-poor"
#: Bytes of a body that the scenario's settings allow.
MAX_UPLOAD_BYTES = 4 << 20
#: A header that attackers try to bring into answers.
INJECTED = b"x-injected"

#: Longest wait for an answer, and bytes sent before one is looked for.
_WAIT_S, _STEP = 30.0, 64 << 10
_BOUNDARY = b"0123456789abcdef"
_FORM = b"multipart/form-data; boundary=" + _BOUNDARY
_TRANSCRIBE = b"POST /v1/audio/transcriptions HTTP/1.1"
_MANIFEST = b"POST /v1/manifests HTTP/1.1"


class Site(NamedTuple):
    """Where requests go.

    Attributes:
        address: host and port.
        speech: a few seconds of speech at `files.RATE`.
    """

    address: tuple[str, int]
    speech: Clip


class Answer(NamedTuple):
    """What came back.

    Attributes:
        status: of HTTP; 0 where there was no answer, and then `body` says why.
        head: the names and values of its headers.
    """

    status: int
    head: Mapping[str, str]
    body: bytes


Send = Callable[[Site], Answer]
Body = Callable[[Site], bytes]


class Kind(NamedTuple):
    """One kind of request.

    Attributes:
        name: unique among all kinds.
        send: sends it.
        expected: the statuses that it may have. With 200, every line of the answer must be that of
            a record that was refused.
        patient: it takes as long as a limit on time, so such kinds are sent side by side.
    """

    name: str
    send: Send
    expected: tuple[int, ...]
    patient: bool = False


# -- how they are sent --------------------------------------------------------------------------


def converse(site: Site, pieces: Iterable[bytes], pause_s: float = 0.0) -> Answer:
    """Send `pieces` on a connection of their own until there is an answer; returns the answer.

    Args:
        pause_s: between pieces.
    """
    try:
        with socket.create_connection(site.address, _WAIT_S) as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                _send(connection, pieces, pause_s)
            return _read(connection)
    except OSError as error:
        return Answer(0, {}, repr(error).encode())


def _send(connection: socket.socket, pieces: Iterable[bytes], pause_s: float) -> None:
    for piece in pieces:
        for start in range(0, len(piece), _STEP):
            answered, _, _ = select.select([connection], [], [], pause_s)
            if answered:
                return
            connection.sendall(piece[start : start + _STEP])


def _read(connection: socket.socket) -> Answer:
    response = http.client.HTTPResponse(connection)
    try:
        response.begin()
        head = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, head, response.read())
    except http.client.HTTPException as error:
        return Answer(0, {}, repr(error).encode())


def head(line: bytes, *headers: bytes, key: bytes | None = MAIN) -> bytes:
    """A request's head."""
    given = [b"Authorization: Bearer " + key] if key is not None else []
    return b"\r\n".join([line, b"Host: chorus", *given, *headers, b"", b""])


def request(line: bytes, body: bytes, *headers: bytes, key: bytes | None = MAIN) -> bytes:
    """A request whose length is right."""
    return head(line, b"Content-Length: %d" % len(body), *headers, key=key) + body


def part(name: bytes, content: bytes, *headers: bytes, file_name: bytes | None = None) -> bytes:
    """A part of a form. The names are taken as they are."""
    disposition = b'Content-Disposition: form-data; name="%s"' % name
    if file_name is not None:
        disposition += b'; filename="%s"' % file_name
    return b"\r\n".join([b"--" + _BOUNDARY, disposition, *headers, b"", content, b""])


def form(*parts: bytes) -> bytes:
    """A form of these parts."""
    return b"".join(parts) + b"--" + _BOUNDARY + b"--\r\n"


_GENERAL = part(b"model", b"general")


def _file(content: bytes, file_name: bytes = b"speech.wav") -> bytes:
    return part(b"file", content, b"Content-Type: audio/wav", file_name=file_name)


def sound_form(site: Site) -> bytes:
    """A form with which nothing is wrong."""
    return form(_GENERAL, _file(_wav(site)))


def _wav(site: Site) -> bytes:
    return files.encode(site.speech)


def ask(site: Site, key: bytes | None = MAIN) -> Answer:
    """An ordinary request."""
    return converse(site, [_posted(sound_form(site), key=key)])


def _posted(body: bytes, *headers: bytes, kind: bytes = _FORM, key: bytes | None = MAIN) -> bytes:
    return request(_TRANSCRIBE, body, b"Content-Type: " + kind, *headers, key=key)


def _sends(*pieces: bytes) -> Send:
    return lambda site: converse(site, pieces)


def _posts(body: Body | bytes, *headers: bytes, kind: bytes = _FORM) -> Send:
    def send(site: Site) -> Answer:
        content = body if isinstance(body, bytes) else body(site)
        return converse(site, [_posted(content, *headers, kind=kind)])

    return send


def _posts_manifest(body: bytes, *headers: bytes) -> Send:
    return _sends(request(_MANIFEST, body, b"Content-Type: application/x-ndjson", *headers))


# -- what is not HTTP, or bends it --------------------------------------------------------------

_GET = b"GET /v1/models HTTP/1.1"

#: Heads that must be refused whatever follows.
HEADS: Mapping[str, bytes] = {
    "random_bytes": np.random.default_rng(5).bytes(500),
    "tls_hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "http_2_preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http_9_9": head(b"GET /v1/models HTTP/9.9"),
    "unknown_method": head(b"STEAL /v1/models HTTP/1.1"),
    "lower_case_method": head(b"get /v1/models HTTP/1.1"),
    "method_of_a_megabyte": head(b"G" * (1 << 20) + b" /v1/models HTTP/1.1"),
    "target_with_nul": head(b"GET /v1/models/\0 HTTP/1.1"),
    "target_not_ascii": head(b"GET /v1/models/\xff\xfe HTTP/1.1"),
    "target_with_space": head(b"GET /v1/models/a b HTTP/1.1"),
    "header_without_colon": head(_GET, b"X-Nothing"),
    "header_without_name": head(_GET, b": value"),
    "header_with_space_before_colon": head(_GET, b"Transfer-Encoding : chunked"),
    "header_name_not_ascii": head(_GET, b"X-\xc3\xbc: 1"),
    "header_name_with_nul": head(_GET, b"X-\0: 1"),
    "header_with_nul": head(_GET, b"X-A: a\0b"),
    "header_with_bare_cr": head(_GET, b"X-Request-Id: a\rX-Injected: 1"),
    "header_with_escape": head(_GET, b"X-Request-Id: \x1b[2J"),
    "length_negative": head(_TRANSCRIBE, b"Content-Length: -1"),
    "length_signed": head(_TRANSCRIBE, b"Content-Length: +5"),
    "length_in_words": head(_TRANSCRIBE, b"Content-Length: five"),
    "length_hexadecimal": head(_TRANSCRIBE, b"Content-Length: 0x10"),
    "length_fraction": head(_TRANSCRIBE, b"Content-Length: 5.0"),
    "length_missing": head(_TRANSCRIBE, b"Content-Length:"),
    "length_list": head(_TRANSCRIBE, b"Content-Length: 5, 5"),
    "length_beyond_64_bits": head(_TRANSCRIBE, b"Content-Length: 18446744073709551616"),
    "length_of_many_digits": head(_TRANSCRIBE, b"Content-Length: " + b"9" * 5000),
    "two_lengths": head(_TRANSCRIBE, b"Content-Length: 5", b"Content-Length: 500"),
    "two_equal_lengths": head(_TRANSCRIBE, b"Content-Length: 5", b"Content-Length: 5"),
    "length_and_chunks": head(_TRANSCRIBE, b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    "chunks_and_length": head(_TRANSCRIBE, b"Transfer-Encoding: chunked", b"Content-Length: 5"),
    "chunked_twice": head(_TRANSCRIBE, b"Transfer-Encoding: chunked, chunked"),
    "chunked_first": head(_TRANSCRIBE, b"Transfer-Encoding: chunked, identity"),
    "unknown_transfer_encoding": head(_TRANSCRIBE, b"Transfer-Encoding: xchunked"),
    "quoted_transfer_encoding": head(_TRANSCRIBE, b'Transfer-Encoding: "chunked"'),
}

_CHUNKED = head(_TRANSCRIBE, b"Content-Type: " + _FORM, b"Transfer-Encoding: chunked")
#: Chunks that lie, behind a head that is right.
CHUNKS: Mapping[str, bytes] = {
    "chunk_size_in_words": b"five\r\nhello\r\n",
    "chunk_size_negative": b"-5\r\nhello\r\n",
    "chunk_size_empty": b"\r\nhello\r\n",
    "chunk_size_with_prefix": b"0x5\r\nhello\r\n",
    "chunk_size_beyond_64_bits": b"FFFFFFFFFFFFFFFFF\r\nhello\r\n",
    "chunk_size_too_small": b"3\r\nhello\r\n0\r\n\r\n",
    "chunk_without_its_end": b"5\r\nhello0\r\n\r\n",
    "chunk_extension_with_nul": b"5;a=\0\r\nhello\r\n0\r\n\r\n",
}


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _endless(site: Site) -> Iterator[bytes]:
    """A file that does not end, in chunks."""
    yield _CHUNKED
    start = part(b"file", b"", b"Content-Type: audio/wav", file_name=b"a.wav")[:-2]
    yield _chunk(start + _wav(site))
    for _ in range(1 << 14):
        yield _chunk(bytes(_STEP))


def _drip(site: Site) -> Answer:
    """A byte of a sound request at a time; counts as no answer where it may go on after that."""
    whole = _posted(sound_form(site))
    body = whole.index(b"\r\n\r\n") + 4
    rest = (whole[number : number + 1] for number in range(body, len(whole)))
    with socket.create_connection(site.address, _WAIT_S) as connection:
        connection.sendall(whole[:body])
        _send(connection, rest, 0.05)
        answer = _read(connection)
        try:
            connection.settimeout(2)
            _send(connection, islice(rest, 20), 0.05)
            connection.recv(1)
        except TimeoutError:
            return Answer(0, {}, b"the connection is kept")
        except ConnectionError:
            pass
    return answer


def _claims(extra: int) -> Send:
    """A sound form whose length is said to be `extra` bytes more than it is."""

    def send(site: Site) -> Answer:
        body = sound_form(site)
        length = b"Content-Length: %d" % (len(body) + extra)
        return converse(site, [head(_TRANSCRIBE, b"Content-Type: " + _FORM, length) + body])

    return send


def _half_requests(site: Site) -> Answer:
    """A request that is wrong, while a hundred others have sent half of their head."""
    with contextlib.ExitStack() as held:
        for _ in range(100):
            connection = held.enter_context(socket.create_connection(site.address, _WAIT_S))
            connection.sendall(_CHUNKED[:60])
        sound = ask(site)
        return sound if sound.status != 200 else converse(site, [head(b"GET /nothing HTTP/1.1")])


def _transport() -> Iterator[Kind]:
    for name, content in HEADS.items():
        yield Kind(name, _sends(content), (400,))
    for name, chunks in CHUNKS.items():
        yield Kind(name, _sends(_CHUNKED, chunks), (400,))
    megabyte = b"a" * (1 << 20)
    for name, headers in {
        "header_of_a_megabyte": [b"X-Long: " + megabyte],
        "header_name_of_a_megabyte": [b"X-" + megabyte + b": 1"],
        "ten_thousand_headers": [b"X-%d: 1" % number for number in range(10_000)],
        "ten_thousand_cookies": [b"Cookie: a=b"] * 10_000,
        "request_id_of_a_megabyte": [b"X-Request-Id: " + megabyte],
        "key_of_a_megabyte": [b"Authorization: Bearer " + megabyte],
    }.items():
        yield Kind(name, _posts(sound_form, *headers), (400, 431))
    for name, value in {
        "request_id_not_utf_8": b"X-Request-Id: \xff\xfe",
        "any_header_not_utf_8": b"User-Agent: \xff\xfe",
        "session_id_not_utf_8": b"X-Session-Id: \xff\xfe",
        "model_id_not_utf_8": b"serve_multiplexed_model_id: \xff\xfe",
        "time_limit_not_utf_8": b"X-Request-Timeout-Seconds: \xff\xfe",
        "disconnect_not_utf_8": b"X-Request-Disconnect-Disabled: \xff\xfe",
        "request_id_folded": b"X-Request-Id: a\r\n X-Injected: 1",
        "request_id_percent_encoded": b"X-Request-Id: a%0d%0aX-Injected:%201",
        "time_limit_of_nothing": b"X-Request-Timeout-Seconds: 0.000001",
    }.items():
        yield Kind(name, _posts(form(_GENERAL), value), (400, 408))
    yield Kind("http_0_9", _sends(b"GET /v1/models\r\n\r\n"), (400, 401))
    # what is left over is a request of its own, and none
    yield Kind("length_too_small", _claims(-50), (400,))
    yield Kind("length_too_large", _claims(50), (408,), patient=True)
    yield Kind("length_of_terabytes", _claims(1 << 40), (413,))
    yield Kind(
        "chunk_size_too_large",
        _sends(_CHUNKED, b"FFFFFFF\r\n--" + _BOUNDARY),
        (408,),
        patient=True,
    )
    yield Kind("chunks_without_end", _sends(_CHUNKED, b"5\r\nhello\r\n"), (408,), patient=True)
    yield Kind("drips", _drip, (408,), patient=True)
    yield Kind("endless_file", lambda site: converse(site, _endless(site)), (408, 413))
    yield Kind("hundred_half_requests", _half_requests, (404,))


# -- forms --------------------------------------------------------------------------------------

#: Content-Type headers of a form that is sound.
CONTENT_TYPES: Mapping[str, tuple[bytes, int]] = {
    "type_of_json": (b"application/json", 415),
    "type_of_text": (b"text/plain", 415),
    "type_of_bytes": (b"application/octet-stream", 415),
    "type_of_audio": (b"audio/wav", 415),
    "type_of_other_form": (b"application/x-www-form-urlencoded", 415),
    "type_of_other_multipart": (b"multipart/mixed; boundary=" + _BOUNDARY, 415),
    "type_empty": (b"", 415),
    "type_not_utf_8": (b"\xff\xfe", 400),
    "no_boundary": (b"multipart/form-data", 400),
    "empty_boundary": (b'multipart/form-data; boundary=""', 400),
    "boundary_cut_off": (b'multipart/form-data; boundary="' + _BOUNDARY, 400),
    "boundary_of_10_kb": (b"multipart/form-data; boundary=" + b"a" * 10_000, 400),
    "boundary_not_ascii": ('multipart/form-data; boundary="ü"'.encode(), 400),
    "another_boundary": (b"multipart/form-data; boundary=fedcba", 400),
}

#: Bodies that are no form, or not one of ours.
FORMS: Mapping[str, Body] = {
    "no_body": lambda site: b"",
    "random_body": lambda site: np.random.default_rng(6).bytes(10_000),
    "json_body": lambda site: b'{"model": "general", "file": "a.wav"}',
    "audio_alone": _wav,
    "form_of_nothing": lambda site: form(),
    "form_cut_off": lambda site: sound_form(site)[:5000],
    "form_without_its_end": lambda site: sound_form(site)[: -len(_BOUNDARY) - 6],
    "form_compressed": lambda site: gzip.compress(sound_form(site)),
    "form_in_utf_16": lambda site: form(_GENERAL).decode().encode("utf-16"),
    "form_with_bare_newlines": lambda site: sound_form(site).replace(b"\r\n", b"\n"),
    "form_behind_junk": lambda site: b"junk" + sound_form(site),
    "boundary_a_hundred_thousand_times": lambda site: (b"--" + _BOUNDARY + b"\r\n") * 100_000,
    "no_file": lambda site: form(_GENERAL),
    "two_files": lambda site: form(_GENERAL, _file(_wav(site)), _file(_wav(site))),
    "two_files_by_other_names": lambda site: form(
        _GENERAL,
        part(b"audio", _wav(site), file_name=b"a.wav"),
        part(b"video", _wav(site), file_name=b"a.mp4"),
    ),
    "file_as_a_path": lambda site: form(_GENERAL, part(b"file", b"/etc/passwd")),
    "file_as_a_url": lambda site: form(_GENERAL, part(b"file", b"http://127.0.0.1/a.wav")),
    "file_in_base64": lambda site: form(
        _GENERAL, part(b"file", b"UklGRiQAAABXQVZF", b"Content-Transfer-Encoding: base64")
    ),
    "prompt_as_in_a_mail": lambda site: form(
        _GENERAL,
        part(b"prompt", b"M=C3=BC", b"Content-Transfer-Encoding: quoted-printable"),
        _file(_wav(site)),
    ),
    "prompt_in_an_encoding_of_python": lambda site: form(
        _GENERAL,
        part(b"prompt", b"\\ud800", b"Content-Type: text/plain; charset=unicode_escape"),
        _file(_wav(site)),
    ),
    "form_within_a_form": lambda site: form(
        _GENERAL, part(b"file", sound_form(site), b"Content-Type: multipart/mixed; boundary=x")
    ),
    "file_within_a_file": lambda site: form(_GENERAL, _file(sound_form(site))),
    "part_without_a_name": lambda site: (
        b"--%s\r\nContent-Disposition: form-data\r\n\r\n1\r\n" % _BOUNDARY + sound_form(site)
    ),
    "part_without_disposition": lambda site: b"--%s\r\n\r\n1\r\n" % _BOUNDARY + sound_form(site),
    "part_of_another_disposition": lambda site: (
        b"--%s\r\nContent-Disposition: attachment\r\n\r\n1\r\n" % _BOUNDARY + sound_form(site)
    ),
    "part_of_a_hundred_headers": lambda site: form(
        part(b"model", b"general", *(b"X-%d: 1" % number for number in range(100)))
    ),
    "part_header_of_a_megabyte": lambda site: form(
        part(b"model", b"general", b"X-Long: " + b"a" * (1 << 20))
    ),
    "part_header_not_utf_8": lambda site: form(part(b"model", b"general", b"X-A: \xff\xfe")),
    "part_claims_less": lambda site: form(part(b"model", b"general", b"Content-Length: 1")),
    "part_claims_more": lambda site: form(part(b"model", b"general", b"Content-Length: 999")),
    "part_claims_a_negative_length": lambda site: form(
        part(b"model", b"general", b"Content-Length: -1")
    ),
    "name_with_new_line": lambda site: form(part(b"a\r\nX-Injected: 1\r\n", b"1")),
    "name_with_encoded_new_line": lambda site: form(
        _GENERAL, _file(_wav(site)), part(b"a%0D%0AX-Injected: 1", b"1")
    ),
    "name_not_utf_8": lambda site: form(part(b"\xff\xfe", b"1")),
    "name_in_utf_16": lambda site: form(part("model".encode("utf-16-le"), b"general")),
    "name_with_nul": lambda site: form(_GENERAL, _file(_wav(site)), part(b"model\0", b"1")),
    "name_of_a_megabyte": lambda site: form(part(b"a" * (1 << 20), b"1")),
    "ten_thousand_fields": lambda site: form(*(part(b"f%d" % n, b"1") for n in range(10_000))),
    "ten_thousand_models": lambda site: form(*[_GENERAL] * 10_000),
    "body_too_large": lambda site: form(_GENERAL, _file(bytes(MAX_UPLOAD_BYTES))),
}

#: Names of a file that is no audio.
FILE_NAMES: Mapping[str, bytes] = {
    "file_name_with_dot_dots": b"../../../../etc/passwd",
    "file_name_absolute": b"/etc/passwd",
    "file_name_of_windows": b"C:\\Windows\\win.ini",
    "file_name_with_nul": b"a.wav\0.exe",
    "file_name_long": b"a" * 4000,
    "file_name_too_long": b"a" * 100_000,
    "file_name_with_new_line": b"a\r\nX-Injected: 1\r\n",
    "file_name_with_encoded_new_line": b"a%0D%0AX-Injected: 1",
    "file_name_not_utf_8": b"\xff\xfe.wav",
    "file_name_backwards": "\u202evaw.exe".encode(),
    "file_name_of_a_shell": b"$(reboot).wav; `reboot` | reboot",
    "file_name_of_markup": b"<script>alert(1)</script>",
    "file_name_empty": b"",
}


def _forms() -> Iterator[Kind]:
    for name, (kind, status) in CONTENT_TYPES.items():
        yield Kind(name, _posts(sound_form, kind=kind), (status,))
    yield Kind("no_type", lambda site: converse(site, [request(_TRANSCRIBE, b"a")]), (415,))
    for name, body in FORMS.items():
        yield Kind(name, _posts(body), (413,) if name == "body_too_large" else (400,))
    yield Kind(
        "body_replayed",
        _posts(lambda site: sound_form(site).removesuffix(form()) + sound_form(site)),
        (400,),
    )
    yield Kind(
        "form_said_to_be_compressed",
        _posts(lambda site: gzip.compress(sound_form(site)), b"Content-Encoding: gzip"),
        (415, 400),
    )
    for name, file_name in FILE_NAMES.items():
        yield Kind(name, _posts(form(_GENERAL, _file(b"no audio", file_name))), (400,))


# -- parameters ---------------------------------------------------------------------------------


#: Fields beside a sound file, of which one is wrong: (fields, status).
FIELDS: Mapping[str, tuple[Mapping[str, bytes], int]] = {
    "model_with_dot_dots": ({"model": b"../general"}, 404),
    "model_as_a_path": ({"model": b"/etc/passwd"}, 404),
    "model_with_new_line": ({"model": b"general\n"}, 404),
    "model_with_nul": ({"model": b"general\0"}, 404),
    "model_with_space": ({"model": b" general"}, 404),
    "model_in_capitals": ({"model": b"GENERAL"}, 404),
    "model_of_lookalikes": ({"model": "gеneral".encode()}, 404),
    "model_of_python": ({"model": b"__class__"}, 404),
    "model_as_a_format": ({"model": b"{0.__class__.__init__.__globals__}%s%n"}, 404),
    "model_as_json": ({"model": b'{"$ne": null}'}, 404),
    "model_as_sql": ({"model": b"' OR 1=1 --"}, 404),
    "model_of_a_megabyte": ({"model": b"a" * (1 << 20)}, 400),
    "model_of_60_kb": ({"model": b"a" * 60_000}, 404),
    "model_in_utf_16": ({"model": "general".encode("utf-16")}, 400),
    "model_in_utf_16_without_mark": ({"model": "general".encode("utf-16-be")}, 404),
    "model_not_utf_8": ({"model": b"\xff\xfe\xfd"}, 400),
    "model_of_a_surrogate": ({"model": b"\xed\xa0\x80"}, 400),
    "model_overlong": ({"model": b"\xc0\xaf"}, 400),
    "language_with_dot_dots": ({"language": b"../../etc"}, 400),
    "language_with_new_line": ({"language": b"en\n"}, 400),
    "language_in_words": ({"language": b"english please"}, 400),
    "language_long": ({"language": b"en-" + b"a" * 10_000}, 400),
    "language_of_digits": ({"language": "١٢".encode()}, 400),
    "format_unknown": ({"response_format": b"xml"}, 400),
    "format_of_another_api": ({"response_format": b"diarized_json"}, 400),
    "format_in_capitals": ({"response_format": b"JSON"}, 400),
    "format_with_nul": ({"response_format": b"json\0"}, 400),
    "temperature_of_2": ({"temperature": b"2"}, 400),
    "many_beams": ({"beam_size": b"1000000"}, 400),
    "seed_of_many_digits": ({"seed": b"9" * 60_000}, 400),
    "translation": ({"task": b"translate"}, 400),
    "hotwords_with_escape": ({"hotwords": b"\x1b[2Jhello"}, 400),
    "temperature_negative": ({"temperature": b"-0.5"}, 400),
    "temperature_not_a_number": ({"temperature": b"nan"}, 400),
    "temperature_infinite": ({"temperature": b"1e999"}, 400),
    "temperature_of_many_digits": ({"temperature": b"9" * 60_000}, 400),
    "temperature_in_words": ({"temperature": b"hot"}, 400),
    "stream_perhaps": ({"stream": b"perhaps"}, 400),
    "stream_of_text": ({"stream": b"true", "response_format": b"text"}, 400),
    "stream_of_words": ({"stream": b"true", "response_format": b"verbose_json"}, 400),
    "granularity_without_verbose": ({"timestamp_granularities[]": b"word"}, 400),
    "granularity_unknown": (
        {"timestamp_granularities[]": b"letter", "response_format": b"verbose_json"},
        400,
    ),
    "include_unknown": ({"include[]": b"weights"}, 400),
    "include_with_text": ({"include[]": b"logprobs", "response_format": b"text"}, 400),
    "chunking_by_server": ({"chunking_strategy": b'{"type": "server_vad"}'}, 400),
    "prompt_of_a_megabyte": ({"prompt": b"a" * (1 << 20)}, 400),
    "prompt_not_utf_8": ({"prompt": b"caf\xe9"}, 400),
    "prompt_with_nul": ({"prompt": b"hel\0lo"}, 400),
    "prompt_with_escape": ({"prompt": b"\x1b[2Jhello"}, 400),
    "callback": ({"callback_url": b"http://127.0.0.1:9/"}, 400),
    "audio_by_url": ({"url": b"http://127.0.0.1:9/a.wav"}, 400),
    "audio_by_path": ({"audio_filepath": b"/etc/passwd"}, 400),
    "speakers": ({"known_speaker_names[]": b"me"}, 400),
    "another_engine": ({"engine": b"tests.standin:StandInEngine"}, 400),
    "prototype": ({"__proto__": b"1"}, 400),
    "field_without_a_name": ({"": b"1"}, 400),
    "list_of_lists": ({"include[][]": b"logprobs"}, 400),
}


def _with_fields(fields: Mapping[str, bytes]) -> Body:
    def body(site: Site) -> bytes:
        parts = [part(name.encode(), value) for name, value in fields.items()]
        return form(_file(_wav(site)), *parts)

    return body


def _parameters() -> Iterator[Kind]:
    for name, (fields, status) in FIELDS.items():
        model = {} if name.startswith("model_") else {"model": b"general"}
        yield Kind(name, _posts(_with_fields({**model, **fields})), (status,))
    huge = form(part(b"model", b"a" * (10 << 20)))
    yield Kind("model_of_10_mb", _posts(huge), (413, 400))
    yield Kind(
        "two_models", _posts(lambda site: form(_GENERAL, _GENERAL, _file(_wav(site)))), (400,)
    )
    keywords = [part(b"keywords[]", b"phrase %d" % number) for number in range(10_000)]
    yield Kind("ten_thousand_keywords", _posts(form(_GENERAL, *keywords)), (400,))
    yield Kind(
        "too_many_keywords",
        _posts(lambda site: form(_GENERAL, _file(_wav(site)), *keywords[:150])),
        (400,),
    )
    no_speech = [_GENERAL, part(b"stream", b"true"), _file(b"no audio")]
    yield Kind("stream_of_no_audio", _posts(form(*no_speech)), (400,))
    line = b"POST /v1/audio/transcriptions?model=general&file=a.wav HTTP/1.1"
    in_query = request(line, form(), b"Content-Type: " + _FORM)
    yield Kind("parameters_in_the_query", _sends(in_query), (400,))


# -- audio that is none, or too much ------------------------------------------------------------


def _zip(site: Site) -> bytes:
    """A bomb: ten megabytes of zeros in a ZIP file in a ZIP file, called audio."""
    content = bytes(10 << 20)
    for _ in range(2):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("speech.wav", content)
        content = file.getvalue()
    return content


@functools.cache
def _silence(container: str, codec: str, seconds: float) -> bytes:
    """Digital silence as FFmpeg writes it: a few bytes a second."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=48_000, layout="mono")
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate = 8_000
        step = 48_000
        for second in range(int(seconds)):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, step), np.float32), "fltp", "mono")
            frame.sample_rate = 48_000
            frame.pts = second * step
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


def _forged(data: bytes, box: bytes, at: int, value: int) -> bytes:
    """An MP4 file in which every `box` has `value`, of 4 bytes, `at` bytes behind its name."""
    found = data.find(box)
    while found >= 0:
        data = files.patched(data, found + 4 + at, struct.pack(">I", value))
        found = data.find(box, found + 4)
    return data


_M4A = ("mp4", "aac")
_LONG = MAX_SECONDS + 60

#: Beside those of `bad_kinds`.
MORE_AUDIO: Mapping[str, Body] = {
    "zip_bomb": _zip,
    "gzip_bomb": lambda site: gzip.compress(bytes(100 << 20), 9),
    "gzip_of_speech": lambda site: gzip.compress(_wav(site)),
    "shell_script": lambda site: b"#!/bin/sh\nreboot\n",
    "windows_program": lambda site: b"MZ\x90\0" + bytes(1000),
    "python_pickle": lambda site: b"cos\nsystem\n(S'reboot'\ntR.",
    "playlist": lambda site: b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
    "concat_script": lambda site: b"ffconcat version 1.0\nfile /etc/passwd\n",
    "svg": lambda site: b'<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>',
    "wav_of_random_samples_cut": lambda site: files.wav(
        np.random.default_rng(8).bytes(1000), size=1 << 20
    ),
    "wav_of_random_header": lambda site: (
        b"RIFF\xff\xff\xff\xffWAVE" + np.random.default_rng(9).bytes(5000)
    ),
    "wav_claims_2_gb": lambda site: files.wav(files.pcm16(site.speech), size=0x7FFE_0000),
    "rf64_claims_exabytes": lambda site: (
        b"RF64\xff\xff\xff\xffWAVE"
        + files.chunk(b"ds64", struct.pack("<QQQI", 1 << 62, 1 << 62, 1 << 61, 0))
        + files.wav_format()
        + files.chunk(b"data", files.pcm16(site.speech), 0xFFFF_FFFF)
    ),
    "wav_in_a_wav": lambda site: files.wav(_wav(site), fmt=files.wav_format(channels=999)),
    "id3_claims_256_mb": lambda site: b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + bytes(1000),
    "tags_without_end": lambda site: b"ID3\x04\0\0\0\0\0\0" * 1000,
    "m4a_of_minutes": lambda site: _silence(*_M4A, _LONG),
    "webm_of_minutes": lambda site: _silence("webm", "libopus", _LONG),
    "m4a_cut_short": lambda site: files.part(_silence(*_M4A, 5), 0.5),
    "m4a_claims_a_year": lambda site: files.part(
        _forged(_silence(*_M4A, 5), b"mdhd", 16, 2**32 - 1), 0.9
    ),
    "m4a_of_huge_packets": lambda site: _forged(_silence(*_M4A, 5), b"stsz", 4, 1 << 30),
    "m4a_of_packets_beyond_the_end": lambda site: _forged(
        _silence(*_M4A, 5), b"stco", 8, 2**31 - 1
    ),
    "m4a_of_empty_boxes": lambda site: (
        struct.pack(">I", 16) + b"ftypM4A \0\0\0\0" + (struct.pack(">I", 8) + b"moov") * 10_000
    ),
    "m4a_of_boxes_nested_deeply": lambda site: b"".join(
        struct.pack(">I", 8 * (5000 - depth)) + b"moov" for depth in range(5000)
    ),
    "webm_of_nested_garbage": lambda site: (
        b"\x1aE\xdf\xa3\x80" + b"\x18S\x80g\x01\xff\xff\xff\xff\xff\xff\xff" * 1000
    ),
    "webm_cut_short": lambda site: files.part(_silence("webm", "libopus", 5), 0.5),
    "aac_noise": lambda site: b"\xff\xf1\x50\x80" + np.random.default_rng(10).bytes(5000),
}


def _audio() -> Iterator[Kind]:
    contents = {
        name: lambda site, content=content: content(site.speech)
        for each in AUDIO.values()
        for name, content in each.items()
    }
    for name, body in {**contents, **MORE_AUDIO}.items():
        yield Kind(name, _posts(_of_file(body)), (413, 415, 400))


def _of_file(content: Body) -> Body:
    return lambda site: form(_GENERAL, _file(content(site)))


# -- addresses, methods, protocols --------------------------------------------------------------

TARGETS: Mapping[str, bytes] = {
    "models_dot_dot_encoded": b"/v1/models/..%2f..%2fetc%2fpasswd",
    "models_dot_dot_encoded_twice": b"/v1/models/..%252f..%252fetc%252fpasswd",
    "models_dot_dot": b"/v1/models/../../../../etc/passwd",
    "models_nul_encoded": b"/v1/models/general%00",
    "models_new_line_encoded": b"/v1/models/general%0d%0aX-Injected:%201",
    "models_not_utf_8": b"/v1/models/%ff%fe",
    "models_of_python": b"/v1/models/__class__",
    "models_long": b"/v1/models/" + b"a" * 50_000,
    "models_of_many_parts": b"/v1/models" + b"/a" * 20_000,
    "docs_dot_dot": b"/docs/..%2f..%2fetc%2fpasswd",
    "root_file": b"/etc/passwd",
    "git_folder": b"/.git/config",
    "another_endpoint": b"/v1/audio/translations",
    "serve_api": b"/api/serve/applications/",
    "another_site": b"http://169.254.169.254/latest/meta-data/",
}


def _addresses() -> Iterator[Kind]:
    for name, target in TARGETS.items():
        yield Kind(f"get_{name}", _sends(head(b"GET %s HTTP/1.1" % target)), (404,))
    for method in (b"GET", b"PUT", b"PATCH", b"DELETE", b"TRACE"):
        line = method + b" /v1/audio/transcriptions HTTP/1.1"
        yield Kind(f"method_{method.decode().lower()}", _sends(head(line)), (405,))
    yield Kind("post_to_models", _sends(request(b"POST /v1/models HTTP/1.1", b"{}")), (405,))
    yield Kind("get_manifests", _sends(head(b"GET /v1/manifests HTTP/1.1")), (405,))
    yield Kind("connect", _sends(head(b"CONNECT 127.0.0.1:22 HTTP/1.1")), (400, 404, 405))
    upgrade = (
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    line = b"GET /v1/audio/transcriptions HTTP/1.1"
    refused = (400, 404, 405, 426)
    yield Kind("websocket", _sends(head(line, *upgrade)), refused)
    yield Kind("websocket_without_a_key", _sends(head(line, *upgrade[:-1])), refused)
    yield Kind("websocket_to_nowhere", _sends(head(b"GET / HTTP/1.1", *upgrade)), refused)
    broken = head(line, *upgrade, b"X-Request-Id: \xff\xfe")
    yield Kind("websocket_not_utf_8", _sends(broken), refused)
    h2c = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk")
    yield Kind("upgrade_to_http_2", _sends(head(line, *h2c)), (405,))


# -- manifests ----------------------------------------------------------------------------------

#: Of `bad_kinds`, what is no single line.
_NO_LINE = frozenset({"tombstone", "empty_value", "blank_value", "json_lines"})
#: Of those, what is refused as a whole, by what it begins with.
_NO_TEXT = frozenset({"avro_like", "gzip", "json_array", "deep_array"})
#: Sixty megabytes of spaces, and of text in the longer encoding.
BOMBS: Mapping[str, bytes] = {
    "bomb_of_gzip": gzip.compress(b" " * (60 << 20)),
    "bomb_of_bzip2": bz2.compress(b" " * (60 << 20)),
    "bomb_of_xz": lzma.compress(b" " * (60 << 20)),
    "bomb_of_zstd": pyarrow.compress(b" " * (60 << 20), codec="zstd", asbytes=True),
    "bomb_of_utf_16": gzip.compress(("{}\n" + "\u4e00" * (3 << 20)).encode("utf-16")),
}
#: Manifests that are refused line by line.
LINES: Mapping[str, bytes] = {
    "of_a_million_letters": b"a" * 1_000_000,
    "of_two_megabytes": record(audio_filepath="a.wav", note="x" * (2 << 20)),
    "id_of_a_million_letters": record(audio_filepath="a.wav", id="x" * 1_000_000),
    "ten_thousand_bad_lines": b'{"audio_filepath": "../a"}\nx\n' * 5_000,
    "utf_16_with_new_line": '{"audio_filepath": "a.wav"}\n'.encode("utf-16"),
    "own_environment": record(audio_filepath="/proc/self/environ"),
    "passwords": record(audio_filepath="/etc/shadow"),
    "passwords_by_url": record(audio_filepath="file:///etc/shadow"),
    "cloud_credentials": record(audio_filepath="http://169.254.169.254/latest/meta-data/"),
    "too_many_phrases": record(audio_filepath="a.wav", phrases=["a"] * 10_000),
    "phrase_of_a_megabyte": record(audio_filepath="a.wav", phrases=["a" * 1_000_000]),
    "another_model_file": record(audio_filepath="../models/general.nemo"),
}


def _manifests() -> Iterator[Kind]:
    for name, value in {**NOT_JSON, **WRONG_KEYS, **LINES}.items():
        if name not in _NO_LINE and value is not None:
            status = 413 if len(value) > MAX_UPLOAD_BYTES else 400 if name in _NO_TEXT else 200
            yield Kind(f"line_{name}", _posts_manifest(value), (status,))
    for name, value in BOMBS.items():
        yield Kind(f"manifest_{name}", _posts_manifest(value), (413,))
    damaged = gzip.compress(record(audio_filepath="a.wav"))[:-9]
    yield Kind("manifest_damaged", _posts_manifest(damaged), (400,))
    brotli = b"Content-Encoding: br"
    yield Kind("manifest_in_brotli", _posts_manifest(b"\x8b\x00", brotli), (415,))
    wrapped = request(_MANIFEST, form(_file(b"{}")), b"Content-Type: " + _FORM)
    yield Kind("manifest_in_a_form", _sends(wrapped), (415,))
    for name, (path, _) in PATHS.items():
        if isinstance(path, str):
            value = record(audio_filepath=path)
            yield Kind(f"path_{name}", _posts_manifest(value), (200,))
    yield Kind("manifest_empty", _posts_manifest(b""), (400,))
    yield Kind("manifest_too_large", _posts_manifest(b"{}\n" * (2 << 20)), (413,))
    stalled = head(_MANIFEST, b"Content-Length: 100") + b'{"audio_filepath"'
    yield Kind("manifest_stalled", _sends(stalled), (408,), patient=True)


# -- keys and limits ----------------------------------------------------------------------------

KEYS: Mapping[str, bytes | None] = {
    "no_key": None,
    "empty_key": b"",
    "wrong_key": b"key-of-nobody",
    "key_in_capitals": MAIN.upper(),
    "key_cut_off": MAIN[:-1],
    "key_and_more": MAIN + b" and more",
    "key_of_60_kb": b"a" * 60_000,
    "key_not_ascii": "kéy-öf-mäin".encode(),
    "key_of_python": b"None",
}


def _too_many_at_once(site: Site) -> Answer:
    """A second request of a client that may have one, while the first is on its way."""
    wrong = _posted(form(_GENERAL), key=NARROW)
    with socket.create_connection(site.address, _WAIT_S) as first:
        first.sendall(_posted(sound_form(site), key=NARROW)[:-100])
        time.sleep(0.5)  # until it is let in
        return converse(site, [wrong])


def _too_much_audio(site: Site) -> Answer:
    """One more request of a client whose minute is used up."""
    first = ask(site, POOR)
    return ask(site, POOR) if first.status == 200 else first


def _keys_and_limits() -> Iterator[Kind]:
    for name, key in KEYS.items():
        yield Kind(name, partial(ask, key=key), (401,))
    for name, line in {
        "no_key_for_models": _GET,
        "no_key_for_a_model": b"GET /v1/models/general HTTP/1.1",
    }.items():
        yield Kind(name, _sends(head(line, key=None)), (401,))
    lines = record(audio_filepath="a.wav")
    yield Kind("no_key_for_manifests", _sends(request(_MANIFEST, lines, key=None)), (401,))
    basic = head(_GET, b"Authorization: Basic a2V5LW9mLW1haW46", key=None)
    yield Kind("basic_authorization", _sends(basic), (401,))
    in_query = head(b"GET /v1/models?api_key=" + MAIN + b" HTTP/1.1", key=None)
    yield Kind("key_in_the_query", _sends(in_query), (401,))
    yield Kind("too_many_at_once", _too_many_at_once, (429,))
    yield Kind("too_much_audio", _too_much_audio, (429,))


# -- the table ----------------------------------------------------------------------------------


def hostile_kinds() -> list[Kind]:
    """Every kind of hostile request."""
    return [
        *_transport(),
        *_forms(),
        *_parameters(),
        *_audio(),
        *_addresses(),
        *_manifests(),
        *_keys_and_limits(),
    ]


def error_of(answer: Answer) -> str | None:
    """The error code in an answer of ours; of a manifest, those of its lines. None: it has none."""
    try:
        if answer.status == 200:
            lines = [json.loads(line) for line in answer.body.splitlines()]
            codes = {line["processing_error"].partition(":")[0] for line in lines}
            return ", ".join(sorted(codes)) or None
        return str(json.loads(answer.body)["error"]["code"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None

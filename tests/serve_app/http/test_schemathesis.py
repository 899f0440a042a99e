"""The API as its own document describes it, asked by somebody who knows nothing else."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from serve_app.audio.sandbox import MediaDecoder
from serve_app.http.api import make_api
from tests.serve_app.http.conftest import (
    TRANSCRIPTIONS,
    FakeRouter,
    client_of,
    encoded,
    noise,
    on_network,
    settings_of,
)

pytestmark = pytest.mark.slow

KEYS = {"one": {"sha256": hashlib.sha256(b"one").hexdigest()}}
AUDIO = encoded(noise(0.1))
#: What a document cannot say.
UNSAID = {
    # which parameters go together, and what is audio; and all values of a form are texts
    TRANSCRIPTIONS: [positive_data_acceptance, negative_data_rejection],
    # a bad line is an error in its place; and what is no text
    "/v1/manifests": [positive_data_acceptance, negative_data_rejection],
}


def document() -> Any:
    """As the API serves it; it starts no decoder for that."""
    chosen = settings_of(keys=KEYS)
    api = make_api(chosen, FakeRouter(), MediaDecoder(chosen.audio))
    return asyncio.run(client_of(api).get("/docs/openapi.json")).json()


described = schemathesis.openapi.from_dict(document())
# nobody would find the one or the other by chance
schemathesis.openapi.format("binary", st.just(AUDIO) | st.binary())


@described.auth()
class Key:
    """The key, where a request is to have one."""

    def get(self, case: Any, context: Any) -> str:
        return "one"

    def set(self, case: Any, data: str, context: Any) -> None:
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.serializer("application/x-ndjson")
def as_it_is(context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with on_network(FakeRouter(), keys=KEYS, wrong_keys_per_minute=1_000_000) as found:
        yield found


@described.parametrize()
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_document_is_kept(case: Any, address: str) -> None:
    case.call_and_validate(base_url=address, excluded_checks=UNSAID.get(case.path, []))

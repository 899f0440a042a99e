from __future__ import annotations

import pytest

from serve_app.system.logs import location_of, log_location


def fail() -> None:
    raise KeyError("what was said")


def test_an_error_is_located_without_its_message(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(KeyError) as caught:
        fail()
    log_location(caught.value)
    assert "unexpected error: KeyError at fail:" in caplog.text
    assert "in test_logs.py" in caplog.text
    assert "what was said" not in caplog.text


def test_an_error_that_was_not_raised_has_its_type_only() -> None:
    assert location_of(KeyError("what was said")) == "KeyError"

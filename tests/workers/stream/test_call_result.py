from __future__ import annotations

import pytest

from schemas.failures import ErrorCode, FailureClass, RecordError, failure_class
from tests.workers.stream.support import a_pending_record, manifest_of, transcript_of
from workers.stream.call_result import classify, halves


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_error_code_has_one_owner(code: ErrorCode) -> None:
    good, bad = a_pending_record("good"), a_pending_record("bad")
    error = RecordError(id="bad", code=code, message="")
    result = classify([good, bad], [transcript_of(manifest_of(good)), error])
    assert good in result.finished
    owner = {
        FailureClass.POISON: result.finished,
        FailureClass.RETRYABLE: result.retryable,
        FailureClass.SUSPECT: result.suspects,
    }[failure_class(code)]
    assert bad in owner
    assert len(result.finished) + len(result.retryable) + len(result.suspects) == 2
    assert (bad.outcome is not None) == (failure_class(code) is FailureClass.POISON)
    assert result.split == (code is ErrorCode.MODEL_OUT_OF_MEMORY)
    assert not result.failed


def test_a_call_that_did_nothing_for_anybody_failed() -> None:
    records = [a_pending_record("a"), a_pending_record("b")]
    codes = [ErrorCode.MODEL_UNAVAILABLE, ErrorCode.MODEL_DIED]
    errors = [
        RecordError(id=manifest_of(w).id, code=c, message="")
        for w, c in zip(records, codes, strict=True)
    ]
    assert classify(records, errors).failed


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (2, [1, 1]), (5, [3, 2]), (32, [16, 16])])
def test_halves_keep_order_and_lose_nothing(count: int, sizes: list[int]) -> None:
    records = [a_pending_record(offset=number) for number in range(count)]
    split = halves(records)
    assert [len(half) for half in split] == sizes
    assert [record for half in split for record in half] == records

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.failures import ErrorCode, FailureClass, RecordError, failure_class
from tests.workers.stream.support import a_work, transcript_of
from workers.stream.retry import Backoff, halves, judge


@given(attempt=st.integers(1, 10_000), seed=st.integers())
def test_backoff_is_jittered_below_an_exponential_bound(attempt, seed):
    delay = Backoff(0.5, 15.0, random.Random(seed)).delay_s(attempt)
    assert 0.0 <= delay <= min(15.0, 0.5 * 2.0 ** min(attempt - 1, 100))


def test_backoff_uses_the_whole_range():
    backoff = Backoff(1.0, 8.0, random.Random(1))
    delays = [backoff.delay_s(10) for _ in range(500)]
    assert min(delays) < 0.5
    assert max(delays) > 7.5


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_error_code_has_one_owner(code):
    good, bad = a_work("good"), a_work("bad")
    error = RecordError(id="bad", code=code, message="")
    verdict = judge([good, bad], [transcript_of(good.record), error])
    assert good in verdict.finished
    owner = {
        FailureClass.POISON: verdict.finished,
        FailureClass.RETRYABLE: verdict.again,
        FailureClass.SUSPECT: verdict.suspects,
    }[failure_class(code)]
    assert bad in owner
    assert len(verdict.finished) + len(verdict.again) + len(verdict.suspects) == 2
    assert (bad.outcome is not None) == (failure_class(code) is FailureClass.POISON)
    assert verdict.split == (code is ErrorCode.MODEL_OUT_OF_MEMORY)
    assert not verdict.failed


def test_a_call_that_did_nothing_for_anybody_failed():
    works = [a_work("a"), a_work("b")]
    codes = [ErrorCode.MODEL_UNAVAILABLE, ErrorCode.MODEL_DIED]
    errors = [
        RecordError(id=w.record.id, code=c, message="") for w, c in zip(works, codes, strict=True)
    ]
    assert judge(works, errors).failed


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (2, [1, 1]), (5, [3, 2]), (32, [16, 16])])
def test_halves_keep_order_and_lose_nothing(count, sizes):
    works = [a_work(offset=number) for number in range(count)]
    split = halves(works)
    assert [len(half) for half in split] == sizes
    assert [work for half in split for work in half] == works

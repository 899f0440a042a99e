"""The result of a validation: findings, checks and recommendations."""

from __future__ import annotations

from workers.evaluation.comparison.results import SetInfo
from workers.evaluation.results import Result
from workers.evaluation.systems.base import SystemInfo
from workers.evaluation.validation.checks import Check
from workers.evaluation.validation.findings import Findings
from workers.evaluation.validation.recommendations import Recommendation


class Validation(Result):
    """Result of `validate`.

    Attributes:
        made: time of the validation: UTC, ISO 8601.
        normaliser: name of the text normalisation, see `serve_app.scoring.wer`.
        system: what was validated.
        test_set: what it was validated on.
        findings: what was measured.
        checks: one for each threshold that was given.
        recommendations: what to do about weaknesses.
    """

    made: str
    normaliser: str
    system: SystemInfo
    test_set: SetInfo
    findings: Findings
    checks: list[Check]
    recommendations: list[Recommendation]

    @property
    def passed(self) -> bool:
        """Whether every threshold was shown to be met."""
        return all(each.passed for each in self.checks)

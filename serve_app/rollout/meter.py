"""What is measured of a rollout."""

from __future__ import annotations

from serve_app.rollout.evidence import Findings
from serve_app.rollout.verdict import Verdict
from serve_app.telemetry import definitions as defined
from serve_app.telemetry.instruments import Instruments


class RolloutMeter:
    """Measures the rollout of a model.

    Args:
        model: its name in the settings.
        instruments: of the process.
    """

    def __init__(self, model: str, instruments: Instruments) -> None:
        self._model = model
        self._instruments = instruments

    def tell(self, findings: Findings) -> None:
        """Tell what the evidence says now."""
        model, instruments = self._model, self._instruments
        for verdict in Verdict:
            is_it = float(verdict is findings.verdict)
            instruments.set(defined.ROLLOUT_STATE, is_it, model, verdict.value)
        instruments.set(defined.ROLLOUT_RECORDS, findings.records, model)
        if findings.wer_change is not None:
            lower, upper = findings.wer_change
            instruments.set(defined.ROLLOUT_CHANGE, lower, model, "lower")
            instruments.set(defined.ROLLOUT_CHANGE, upper, model, "upper")
        if findings.differing is not None:
            instruments.set(defined.ROLLOUT_DIFFERING, findings.differing, model)
        for version, share in findings.failing.items():
            instruments.set(defined.ROLLOUT_FAILING, share, model, version)

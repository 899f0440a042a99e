"""Which model gets worse, and is it the model or the audio?"""

from __future__ import annotations

from deploy.observability import verdicts
from deploy.observability.panels import Dashboard, Panel, Query, Row
from deploy.observability.queries import (
    highest,
    quantile,
    rate,
    recorded,
    share,
)
from serve_app.telemetry import definitions as defined

_REFERENCES = "No record has a reference."
_NO_ROLLOUT = "No rollout is under way."
_BY = "model"


def _unsure() -> str:
    low = rate(defined.CONFIDENCE, _BY, where=('le="0.5"',), part="bucket")
    return share(low, rate(defined.CONFIDENCE, _BY, part="count"))


def _agreeing() -> str:
    same = rate(defined.MEMBER_TEXTS, _BY, where=('same="yes"',))
    return share(same, rate(defined.MEMBER_TEXTS, _BY))


_MODELS = Row(
    "What transcripts say",
    (
        Panel(
            "WER of a day",
            "Word errors over words of the references. Half as high again as in the week before "
            "is an alert. `chorus quality` says since when, and how sure that is.",
            (
                Query(
                    f"max by (model) ({recorded('model:chorus_stream_wer:ratio1d', 'job', _BY)})",
                    "{{model}}",
                    silent="It takes a thousand words with references.",
                ),
            ),
            unit="percentunit",
            page="runbook.md#a-model-gets-worse",
        ),
        Panel(
            "WER now",
            "The same over a short time: it moves with what is said.",
            (
                Query(
                    share(
                        rate(defined.WORD_ERRORS, _BY),
                        rate(defined.REFERENCE_WORDS, _BY),
                    ),
                    "{{model}}",
                    silent=_REFERENCES,
                ),
            ),
            unit="percentunit",
            page="quality.md",
        ),
        Panel(
            "Members that agree",
            "Share of a member's texts that were taken, word for word. One that falls while "
            "others stay has got worse.",
            (Query(_agreeing(), "{{model}}", silent="There is no ensemble."),),
            unit="percentunit",
            page="routing.md#plans",
        ),
        Panel(
            "Confidence below a half",
            "Share of the transcripts: now, and over an hour. A model that gets worse, or audio "
            "that does: see below.",
            (
                Query(_unsure(), "{{model}}"),
                Query(
                    f"max by (model) ({recorded('model:chorus_router_unsure:ratio1h', _BY)})",
                    "{{model}}, an hour",
                    silent="It takes a hundred transcripts an hour.",
                ),
            ),
            unit="percentunit",
            page="runbook.md#a-model-gets-worse",
        ),
        Panel(
            "Confidence, median",
            "Of transcripts, calibrated where the settings name a calibration, and as the engine "
            "gives it.",
            (
                Query(quantile(0.5, defined.CONFIDENCE, _BY), "{{model}}"),
                Query(quantile(0.5, defined.MODEL_CONFIDENCE, _BY), "{{model}}, raw"),
            ),
            unit="percentunit",
            page="routing.md#calibrated-confidences",
        ),
        Panel(
            "Transcripts without a word",
            "Share of a model's transcripts over an hour. Silence has none, and a model that "
            "has broken.",
            (
                Query(
                    f"max by (model) ({recorded('model:chorus_router_empty:ratio1h', _BY)})",
                    "{{model}}, an hour",
                    silent="It takes a hundred transcripts an hour.",
                ),
                Query(
                    share(
                        rate(defined.EMPTY_TEXTS, _BY),
                        rate(defined.MODEL_CLIPS, _BY, where=('outcome="text"',)),
                    ),
                    "{{model}}",
                    silent="Every transcript has words.",
                ),
            ),
            unit="percentunit",
            page="runbook.md#a-model-gets-worse",
        ),
    ),
)

_SPEECH = Row(
    "What comes in",
    (
        Panel(
            "Signal to noise",
            "Of the records: one in twenty has less than the lower line, half more than the upper.",
            (
                Query(quantile(0.5, defined.SNR), "50%"),
                Query(quantile(0.05, defined.SNR), "5%"),
            ),
            unit="dB",
            width=6,
            least=None,
            page="quality.md#what-the-verdicts-mean",
        ),
        Panel(
            "Bandwidth",
            "Below 4 kHz it is telephone speech, whatever the sample rate.",
            (
                Query(quantile(0.5, defined.BANDWIDTH), "50%"),
                Query(quantile(0.05, defined.BANDWIDTH), "5%"),
            ),
            unit="hertz",
            width=6,
            page="quality.md#what-the-verdicts-mean",
        ),
        Panel(
            "Length",
            "Of the records.",
            (
                Query(quantile(0.5, defined.DURATION), "50%"),
                Query(quantile(0.95, defined.DURATION), "95%"),
            ),
            unit="s",
            width=6,
        ),
        Panel(
            "Clipped",
            "Share of the records with more than 0.1% of their samples clipped: the recording "
            "level is too high.",
            (
                Query(
                    share(
                        rate(defined.CLIPPED, "application"),
                        rate(defined.DURATION, "application", part="count"),
                    ),
                    "{{application}}",
                    silent="No record is clipped.",
                ),
            ),
            unit="percentunit",
            width=6,
        ),
    ),
)

_ROLLOUTS = Row(
    "Rollouts",
    (
        Panel(
            "Verdict",
            "What the evidence says of the candidate now. The judge acts on it.",
            (
                Query(
                    highest(defined.ROLLOUT_STATE, _BY, "verdict"),
                    "{{model}} {{verdict}}",
                    silent=_NO_ROLLOUT,
                ),
            ),
            kind="states",
            limits=((1, "orange"),),
            page="runbook.md#a-rollout-goes-back",
        ),
        Panel(
            "Records observed",
            "The more, the narrower the interval beside it.",
            (Query(highest(defined.ROLLOUT_RECORDS, _BY), "{{model}}", silent=_NO_ROLLOUT),),
            page="models.md#is-a-candidate-better",
        ),
        Panel(
            "WER of the candidate less that of the incumbent",
            "Bounds of an interval that is right at every look. All of it below 0: the candidate "
            "is better; above 0: worse.",
            (
                Query(
                    highest(defined.ROLLOUT_CHANGE, _BY, "bound"),
                    "{{model}} {{bound}}",
                    silent=_NO_ROLLOUT,
                ),
            ),
            unit="suffix: points",
            least=None,
            page="models.md#is-a-candidate-better",
        ),
        Panel(
            "Words that differ",
            "Between the texts of the candidate and the incumbent.",
            (Query(highest(defined.ROLLOUT_DIFFERING, _BY), "{{model}}", silent=_NO_ROLLOUT),),
            unit="percent",
            page="models.md#is-a-candidate-better",
        ),
        Panel(
            "Clips without an answer",
            "By version.",
            (
                Query(
                    highest(defined.ROLLOUT_FAILING, _BY, "version"),
                    "{{model}} {{version}}",
                    silent=_NO_ROLLOUT,
                ),
            ),
            unit="percent",
            page="runbook.md#a-rollout-goes-back",
        ),
        Panel(
            "Records, by arm",
            "Of models with a rollout under way, by the version that was asked.",
            (
                Query(
                    rate(defined.ARMS, _BY, "arm"),
                    "{{model}} {{arm}}",
                    silent=_NO_ROLLOUT,
                ),
            ),
            unit="cps",
            kind="stack",
            page="models.md#is-a-candidate-better",
        ),
    ),
)

DASHBOARD = Dashboard(
    uid="chorus-quality",
    title="Chorus: quality and rollouts",
    means="Which model gets worse, and is it the model or the audio?",
    rows=(_MODELS, verdicts.ROW, _SPEECH, _ROLLOUTS),
)

"""Transcripts as Chorus writes them."""

from __future__ import annotations

from typing import Any

from schemas.transcript import Timings, Transcript, Word

SAID = "follow up at the outpatient clinic in eight weeks for pulmonary embolism"
MEMBERS = {
    "general": "follow up at the patient clinic in eight weeks for pulmonary embolism",
    "medical": SAID,
    "legal": "follow up at the outpatient clinic in eight weeks for the pulmonary ember",
    "telephony": "follow up at the outpatient clinic in weeks for pulmonary embolism",
    "noisy": "fellow up at the outpatient clinic in eight weeks for pulmonary embolism",
}


def words_of(text: str, seconds: float = 4.0) -> list[Word]:
    """The words of a text, each as long as the others; the fifth is unsure."""
    words = text.split()
    step = seconds / max(len(words), 1)
    return [
        Word(each, round(at * step, 3), round((at + 1) * step, 3), 0.55 if at == 4 else 0.97)
        for at, each in enumerate(words)
    ]


def transcript(**keys: Any) -> Transcript:
    """One of a model alone, with times of words."""
    given: dict[str, Any] = {
        "id": "medical-demo-00001",
        "audio_filepath": "medical/medical-demo-00001.opus",
        "duration": 4.0538,
        "pred_text": SAID,
        "selected_model": "medical",
        "model_path": "models/medical.nemo",
        "model_sha256": "ab" * 32,
        "rule": "medical-hint",
        "rule_values": {"domain": "medical"},
        "audio_measures": {"seconds": 4.0538, "snr_db": 31.25, "bandwidth_hz": 7800.0},
        "domain": "medical",
        "lang": "en",
        "confidence": 0.93,
        "words": words_of(SAID),
        "timings": Timings(audio_ms=1.9, queue_ms=12.0, model_ms=9.1, total_ms=24.5),
    }
    return Transcript(**(given | keys))


def voted(**keys: Any) -> Transcript:
    """One of a vote of five models, with a reference."""
    texts = {f"pred_text_{model}": text for model, text in MEMBERS.items()}
    given: dict[str, Any] = {
        "plan": "vote",
        "ensemble_pred_text": SAID,
        "ensemble_model_count": 5,
        "text": SAID.replace("eight", "ate"),
        "wer": 8.3,
        "word_errors": 1,
        "reference_words": 12,
        "extra": {"ward": 7, **texts},
    }
    return transcript(**(given | keys))

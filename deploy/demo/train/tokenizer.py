"""A small BPE tokenizer for lower-case words."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import sentencepiece


def train_tokenizer(texts: Iterable[str], pieces: int, folder: Path) -> None:
    """Write `tokenizer.model`, `tokenizer.vocab` and `vocab.txt`, as NeMo wants them, to `folder`.

    Raises:
        RuntimeError: `texts` are too few for so many pieces.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_prefix=str(folder / "tokenizer"),
        model_type="bpe",
        vocab_size=pieces,
        character_coverage=1.0,
        # the texts are normal already, and the table of the default rule takes 240 kB
        normalization_rule_name="identity",
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
    )
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    (folder / "vocab.txt").write_text("".join(f"{model.id_to_piece(i)}\n" for i in range(pieces)))

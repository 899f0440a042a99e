"""What a model can write: its alphabet, its tokens, and a new set of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import sentencepiece

_WORD_START = "▁"


class Vocabulary:
    """The tokens of a NeMo model, of pieces or of characters.

    Attributes:
        alphabet: every character that the model can write.
    """

    def __init__(self, model: Any) -> None:
        self._tokenizer = getattr(model, "tokenizer", None)
        if self._tokenizer is None:
            labels = getattr(model, "joint", model.decoder).vocabulary
            self._ids = {label: number for number, label in enumerate(labels)}
            self.alphabet = frozenset(self._ids)
        else:
            pieces = self._tokenizer.vocab
            control = {"<unk>", "<s>", "</s>", "<pad>", "[UNK]"}
            letters = "".join(piece for piece in pieces if piece not in control)
            self.alphabet = frozenset(letters.replace("##", "")) - {_WORD_START} | {" "}

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`, all of whose characters are in the alphabet."""
        if self._tokenizer is None:
            return [self._ids[character] for character in text]
        ids: list[int] = self._tokenizer.text_to_ids(text)
        return ids

    def outside(self, text: str) -> list[str]:
        """The characters of `text` that the model cannot write, sorted."""
        return sorted(set(text) - self.alphabet)


def change_vocabulary(model: Any, texts: Sequence[str], pieces: int, folder: Path) -> None:
    """Give `model` new tokens, learned from `texts`; its decoder then starts from nothing.

    Args:
        model: a NeMo model; it is changed.
        texts: what the tokens are learned from.
        pieces: how many, for a model of BPE pieces; one of characters gets those of the texts.
        folder: where the tokenizer's files are written; they are part of the saved model.

    Raises:
        ValueError: the texts are too few for so many pieces.
    """
    if getattr(model, "tokenizer", None) is None:
        model.change_vocabulary(new_vocabulary=sorted(set("".join(texts))))
        return
    train_tokenizer(texts, pieces, folder)
    model.change_vocabulary(new_tokenizer_dir=str(folder), new_tokenizer_type="bpe")


def train_tokenizer(texts: Iterable[str], pieces: int, folder: Path) -> None:
    """Write `tokenizer.model`, `tokenizer.vocab` and `vocab.txt`, as NeMo wants them, to `folder`.

    Raises:
        ValueError: the texts are too few for so many pieces.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
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
    except RuntimeError as error:
        raise ValueError(
            f"the texts do not make {pieces} pieces; ask for fewer ({error})"
        ) from None
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    (folder / "vocab.txt").write_text("".join(f"{model.id_to_piece(i)}\n" for i in range(pieces)))

"""Training batches: an endless stream that is a pure function of the manifests and a seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
import torch.distributed
from numpy.random import Generator, default_rng
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from serve_app.audio.clip import SAMPLE_RATE
from workers.finetune.augmentation import augment
from workers.finetune.recipe import Augmentation, Recipe
from workers.manifests.speech import Utterance, read_audio


@dataclass(frozen=True)
class Draw:
    """A clip of a batch: its index, and the seed of its augmentation."""

    clip: int
    seed: int


class BatchStream(Sampler[list[Draw]]):
    """Batches of clips of like duration, cut by padded seconds; `set_epoch` picks a round.

    Round r holds the batches r * `round_steps` and following of one endless stream, so training
    that goes on from the end of any round sees what it would have seen without a break. Of several
    processes that train together each takes its turn: a step has a batch for each of them.

    Args:
        durations: of the clips of each source, in seconds.
        shares: of each source. A pass goes once through the first source; the others are drawn
            without repetition, or as many times over as their share asks.
        batch_seconds: limit of clips * longest clip. A longer clip is a batch by itself.
        round_steps: batches in a round.
        short_steps: the first so many batches hold clips under `short_seconds` only. CTC aligns
            short clips first; with long ones a fresh model stays on its plateau.
    """

    def __init__(
        self,
        durations: Sequence[Sequence[float]],
        shares: Sequence[float],
        *,
        seed: int,
        batch_seconds: float,
        round_steps: int,
        short_steps: int = 0,
        short_seconds: float = 2.4,
    ) -> None:
        self._durations = [np.asarray(source) for source in durations]
        self._shares = shares
        self._seed = seed
        self._batch_seconds = batch_seconds
        self._round_steps = round_steps
        self._short_steps = short_steps
        self._short_seconds = short_seconds
        self._round = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the round of the next iteration. Lightning calls it before each epoch."""
        self._round = epoch

    def __len__(self) -> int:
        return self._round_steps

    def __iter__(self) -> Iterator[list[Draw]]:
        rank, processes = _place()
        start = self._round * self._round_steps * processes
        end = start + self._round_steps * processes
        return islice(self._stream(), start + rank, end, processes)

    def pass_batches(self) -> int:
        """Batches that a pass through the first source takes, about."""
        total = len(self._durations[0]) / self._shares[0]
        mean = float(np.mean([np.mean(source) for source in self._durations if len(source)]))
        return max(1, round(total * mean / self._batch_seconds))

    def _stream(self) -> Iterator[list[Draw]]:
        short = [np.flatnonzero(source < self._short_seconds) for source in self._durations]
        long = [np.arange(len(source)) for source in self._durations]
        passes = self._passes(short, stage=0)
        yield from islice(passes, self._short_steps)
        yield from self._passes(long, stage=1)

    def _passes(self, pools: Sequence[NDArray[np.int64]], stage: int) -> Iterator[list[Draw]]:
        starts = np.cumsum([0, *map(len, self._durations)])
        durations = np.concatenate(self._durations)
        number = 0
        while True:
            rng = default_rng([self._seed, stage, number])
            total = len(pools[0]) / self._shares[0]
            drawn = np.concatenate(
                [
                    start + _draw(pool, round(total * share), rng)
                    for pool, share, start in zip(pools, self._shares, starts[:-1], strict=True)
                ]
            )
            batches = list(self._cut(drawn, durations, rng))
            rng.shuffle(batches)
            yield from batches
            number += 1

    def _cut(
        self, drawn: NDArray[np.int64], durations: NDArray[np.float64], rng: Generator
    ) -> Iterator[list[Draw]]:
        # jitter, so that a clip's neighbours change from pass to pass
        order = drawn[np.argsort(durations[drawn] * rng.uniform(0.9, 1.1, len(drawn)))]
        batch: list[Draw] = []
        longest = 0.0
        for clip in order:
            longest = max(longest, durations[clip])
            if batch and longest * (len(batch) + 1) > self._batch_seconds:
                yield batch
                batch, longest = [], durations[clip]
            batch.append(Draw(int(clip), int(rng.integers(2**32))))
        if batch:
            yield batch


def _place() -> tuple[int, int]:
    """The rank of this process among those that train together, and their number."""
    if not torch.distributed.is_initialized():
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def _draw(pool: NDArray[np.int64], count: int, rng: Generator) -> NDArray[np.int64]:
    """`count` of `pool` with as few repetitions as possible."""
    rounds = [rng.permutation(pool) for _ in range(-(-count // max(1, len(pool))))]
    return np.concatenate([pool[:0], *rounds])[:count]


Batch = tuple[Tensor, Tensor, Tensor, Tensor]


class BatchDataset(Dataset[Batch]):
    """Batches as NeMo's `training_step` takes them.

    Indexing with a list of draws returns float32 samples [B, T], int64 lengths [B], int64 tokens
    [B, U] and int64 token counts [B], padded with zeros.

    Args:
        tokens: of each utterance's text.
        sample_rate: hertz that the model works at.
        augmentation: of each clip, by the seed of its draw.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        tokens: Sequence[Sequence[int]],
        sample_rate: int = SAMPLE_RATE,
        augmentation: Augmentation = Augmentation(),  # noqa: B008  # frozen
    ) -> None:
        self._utterances = utterances
        self._tokens = tokens
        self._sample_rate = sample_rate
        self._augmentation = augmentation

    def __getitem__(self, draws: list[Draw]) -> Batch:
        audio = [torch.from_numpy(self._clip(draw)) for draw in draws]
        tokens = [torch.tensor(self._tokens[draw.clip]) for draw in draws]
        return (*pad(audio), *pad(tokens))

    def _clip(self, draw: Draw) -> NDArray[np.float32]:
        samples = read_audio(self._utterances[draw.clip], self._sample_rate)
        return augment(samples, self._sample_rate, default_rng(draw.seed), self._augmentation)


def pad(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Rows of different lengths as [rows, longest], filled up with zeros, and their lengths."""
    padded = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
    return padded, torch.tensor([len(row) for row in rows])


@dataclass(frozen=True)
class Source:
    """A share of the training data: `share` of the utterances of a pass."""

    utterances: Sequence[Utterance]
    share: float = 1.0


def batch_stream(sources: Sequence[Source], recipe: Recipe) -> BatchStream:
    """The batches that a training on `sources` goes through."""
    return BatchStream(
        [[each.duration for each in source.utterances] for source in sources],
        [source.share for source in sources],
        seed=recipe.seed,
        batch_seconds=recipe.batch_seconds,
        round_steps=recipe.check_every,
        short_steps=recipe.short_first,
    )

"""Records whose channels are transcribed one by one: each is a clip of its own, on its own way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from schemas.channels import EACH, Channel
from schemas.failures import FailureClass, RecordError
from schemas.manifest import ManifestRecord, with_channel
from schemas.requests import CallOptions
from schemas.settings import AudioSettings
from schemas.transcript import Transcript
from serve_app.audio import AudioError
from serve_app.audio.channels import others
from serve_app.audio.clip import Recording
from serve_app.router.faults import internal_error
from serve_app.router.results import Result, ResultMaker

#: While one speaks, the channels of the others are silent: words go as they do over HTTP.
MAX_NO_SPEECH = 0.9


@dataclass
class _Split:
    """The places of a record's channels, and those that hold the same as its first one."""

    places: list[int]
    equal: range = range(0)


class Parts:
    """What is transcribed of a list of records: the whole of each, or its channels.

    A record with `channel: each` begins as its channel 0. That is read first, and tells how many
    there are; the others are added at the end.

    Args:
        records: the list.
        default: the channel of those that do not say which they mean.

    Attributes:
        records: the parts, as records with one channel at most.
    """

    def __init__(self, records: Sequence[ManifestRecord], default: Channel | None) -> None:
        self._whole = [with_channel(record, default) for record in records]
        self._splits = {
            place: _Split([place])
            for place, record in enumerate(self._whole)
            if record.channel == EACH
        }
        self._of_channels = set(self._splits)
        self.records = [
            _channel(record, 0) if record.channel == EACH else record for record in self._whole
        ]

    def options(self, place: int, options: CallOptions) -> CallOptions:
        """The options of a part: a channel needs words, to take its turns."""
        if place not in self._of_channels:
            return options
        limit = options.max_no_speech_prob or MAX_NO_SPEECH
        return msgspec.structs.replace(options, words=True, max_no_speech_prob=limit)

    def record_of(self, place: int) -> int:
        """The place in the list of the record that a part is of."""
        if place < len(self._whole):
            return place
        return next(first for first, split in self._splits.items() if place in split.places)

    def add_others(self, place: int, recording: Recording, limits: AudioSettings) -> range:
        """Add the other channels of a record whose first one has been read.

        Args:
            place: of the part that has been read.
            recording: its audio.
            limits: on the seconds of all channels together.

        Returns:
            The places of what was added; none where `place` is no first channel.

        Raises:
            AudioError: see `serve_app.audio.channels.others`; the message names the file.
        """
        split = self._splits.get(place)
        if split is None:
            return range(0)
        record, begin = self._whole[place], len(self.records)
        try:
            left = others(recording, limits)
        except AudioError as error:
            raise AudioError(error.code, f"{record.audio_filepath}: {error.message}") from None
        self.records += [_channel(record, channel) for channel in left]
        added = range(begin, len(self.records))
        split.places += added
        self._of_channels.update(added)
        if recording.all_equal:
            split.equal = range(1, recording.channels)
        return added

    def joined(self, results: Mapping[int, Result], make: ResultMaker) -> list[Result]:
        """A result for each record of the list.

        Args:
            results: of all parts, by place.
            make: joins the transcripts of channels.
        """
        return [
            self._join(place, record, results, make) for place, record in enumerate(self._whole)
        ]

    def _join(
        self, place: int, record: ManifestRecord, results: Mapping[int, Result], make: ResultMaker
    ) -> Result:
        split = self._splits.get(place)
        if split is None:
            return results[place]
        channels = [results[each] for each in split.places]
        errors = [
            of_channel(number, each)
            for number, each in enumerate(channels)
            if isinstance(each, RecordError)
        ]
        if errors:  # what will fail again is not tried again for what will not
            return min(errors, key=lambda error: error.failure is not FailureClass.POISON)
        found = [each for each in channels if isinstance(each, Transcript)]
        try:
            return make.join(record, found, split.equal)
        except Exception as error:
            return internal_error(record, error)


def of_channel(number: int, error: RecordError) -> RecordError:
    """`error` with the channel that it is about, unless the file cannot be read at all."""
    if number == 0 and error.code.value.startswith("audio_"):
        return error
    return msgspec.structs.replace(error, message=f"channel {number}: {error.message}")


def _channel(record: ManifestRecord, channel: int) -> ManifestRecord:
    """A channel of `record`; the reference is that of the whole."""
    return msgspec.structs.replace(record, channel=channel, text=None)

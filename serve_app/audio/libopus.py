"""The decoder of libopus (https://opus-codec.org), the library itself.

Libsndfile has one built in that is older, takes twice the time, and is not told the rate that is
wanted. PyAV brings the library with it; where its package is another one, the system may have it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from serve_app.audio.clip import Clip

#: Rates that it decodes to, in hertz.
RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
#: The longest packet, in seconds (RFC 6716, 3.2.5).
MAX_SECONDS = 0.12
_SYSTEM = "libopus.so.0"
_SET_GAIN = 4034  # OPUS_SET_GAIN_REQUEST of opus_defines.h


class OpusError(Exception):
    """A packet that is no Opus, or no decoder."""


@cache
def library() -> ctypes.CDLL | None:
    """The library; None where there is none."""
    package = find_spec("av")
    bundled: list[Path] = []
    if package is not None and package.origin is not None:
        beside = Path(package.origin).parent.parent / "av.libs"  # where auditwheel puts libraries
        bundled = sorted(beside.glob("libopus-*.so*"))
    for name in [*map(str, bundled), _SYSTEM]:
        try:
            found = ctypes.CDLL(name)
        except OSError:
            continue
        found.opus_decoder_create.restype = ctypes.c_void_p
        found.opus_decoder_create.argtypes = [ctypes.c_int32, ctypes.c_int, ctypes.c_void_p]
        found.opus_decoder_destroy.argtypes = [ctypes.c_void_p]
        found.opus_decoder_ctl.argtypes = [ctypes.c_void_p, ctypes.c_int]  # and one more
        found.opus_decode_float.argtypes = [
            *(ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32),
            *(ctypes.c_void_p, ctypes.c_int, ctypes.c_int),
        ]
        return found
    return None


class OpusDecoder:
    """Decodes the packets of one stream, one after another.

    Args:
        rate: hertz of the samples, one of `RATES`.
        channels: 1 or 2.
        gain: of the samples, in 1/256 dB.

    Raises:
        OpusError: there is no library, or no memory.
    """

    def __init__(self, rate: int, channels: int, gain: int) -> None:
        self._state: int | None = None
        found = library()
        if found is None:
            raise OpusError("libopus is not there")
        self._library = found
        self._channels = channels
        self._room = round(MAX_SECONDS * rate)  # of the longest packet, in frames
        self._state = found.opus_decoder_create(rate, channels, None)
        if not self._state:
            raise OpusError("no decoder")
        found.opus_decoder_ctl(self._state, _SET_GAIN, ctypes.c_int32(gain))

    def decode(self, packets: Sequence[bytes]) -> Clip:
        """The samples of `packets`, shape [frames * channels].

        Raises:
            OpusError: one of them is none.
        """
        room = self._room * len(packets)
        samples = np.empty(room * self._channels, np.float32)
        start, step = samples.ctypes.data, samples.itemsize * self._channels
        decode, state = self._library.opus_decode_float, self._state
        got = 0
        for packet in packets:
            count = decode(state, packet, len(packet), start + got * step, room - got, 0)
            if count < 0:
                raise OpusError("a packet that is no Opus")
            got += count
        return samples[: got * self._channels]

    def __del__(self) -> None:
        if self._state:
            self._library.opus_decoder_destroy(self._state)

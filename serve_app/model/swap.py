"""Follow an alias: load the version that it names now, and change to it between two calls."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from typing import Protocol

from serve_app.engines.errors import EngineError
from serve_app.engines.trial import try_model
from serve_app.model.meter import ModelMeter
from serve_app.model.serving import Serving
from serve_app.registry.errors import RegistryFaultError, UnknownModelError
from serve_app.registry.holds import RENEW_S, Lease
from serve_app.registry.source import Version, VersionSource
from serve_app.system.memory import available_bytes
from serve_app.system.sizes import size_text

logger = logging.getLogger(__name__)

#: Memory that loading a version takes, as a multiple of the size of its files: the file unpacked
#: and read, and the model made of it.
_LOADING_FACTOR = 3
#: What a registry, a trial or an engine raises over a version that cannot be served.
_REFUSALS = (EngineError, UnknownModelError, RegistryFaultError, OSError, ValueError)


class Turn(Protocol):
    """Something that one replica does at a time."""

    def take(self) -> bool:
        """Begin, unless another one does it. May block for a moment."""
        ...

    def end(self) -> None:
        """Let the others begin. May block for a moment."""
        ...


class Swapper:
    """Keeps a model at the version that its settings name.

    The version that serves goes on until another one has been loaded and has transcribed. One that
    cannot be served is refused, once: it is tried again only if the alias is moved.

    Args:
        name: of the model in the settings.
        source: of its versions.
        turn: what the replicas of the model have in common, so that they change one after the
            other; None if there is only one.
        meter: of the model.
        identifies: whether its versions must be able to identify languages.
    """

    def __init__(
        self,
        name: str,
        source: VersionSource,
        turn: Turn | None = None,
        *,
        meter: ModelMeter | None = None,
        identifies: bool = False,
    ) -> None:
        self._name = name
        self._source = source
        self._turn = turn
        self._meter = meter or ModelMeter(name)
        self._identifies = identifies
        self._serving: Serving | None = None
        self._open = asyncio.Event()  # clear while there is no version
        self._seen = ""
        self._unreadable = ""  # why the alias cannot be looked at
        self._copy = ""  # of a version that was loaded without the registry, in words
        self._refused = ""  # why the version that it named last does not serve
        self._lease: Lease | None = None
        self._held = ""
        self._renewed = 0.0

    async def start(self) -> None:
        """Load the version that is named now; while the registry is out of reach, that served last.

        Raises:
            UnknownModelError: none is.
            RegistryFaultError: it is damaged, or of another engine.
            EngineError: it cannot be loaded.
            OSError: the registry cannot be read, and none has been served on this machine.
        """
        try:
            version = await asyncio.to_thread(self._source.find)
        except (OSError, UnknownModelError) as error:
            version = await self._served_last(error)
        else:
            await self._hold(version)
        self._serving = await self._load(version)
        self._seen = version.place
        self._open.set()
        if not self._copy:
            await self._remember(version)

    def close(self) -> None:
        """Let go of the version that serves."""
        if self._serving is not None:
            self._serving.close()

    async def serving(self) -> Serving:
        """The version that serves; waits for it if the old one was drained first.

        Between this and the first step of a call of the result, nothing else may be awaited.
        """
        await self._open.wait()
        return self.current

    @property
    def current(self) -> Serving:
        """The version that serves, or served last."""
        if self._serving is None:
            raise RuntimeError("no version has been loaded")
        return self._serving

    @property
    def refused(self) -> str:
        """Why the version that is named now does not serve, or nobody knows; empty if it does."""
        return "; ".join(filter(None, (self._unreadable, self._copy))) or self._refused

    async def follow(self, poll_s: float) -> None:
        """Look at the alias again and again, and hold the version that serves; never returns."""
        while True:
            await asyncio.sleep(poll_s)
            try:
                if self._source.moves or self._unreadable:
                    await self.look()
                if time.monotonic() - self._renewed > RENEW_S:
                    await self._hold(self.current.version)
            except Exception as error:  # a bug must not end the following for ever
                logger.exception("model %s: following its alias: %s", self._name, error)

    async def look(self) -> None:
        """Look at the alias once, and change to the version that it names."""
        try:
            place = await asyncio.to_thread(self._source.place)
        except (OSError, UnknownModelError, RegistryFaultError) as error:
            if not self._unreadable:
                self._say_refused(str(error))
            self._unreadable = str(error)
            return
        if self._copy:
            logger.info("model %s: %s is followed again", self._name, self._source)
            self._renewed = -math.inf  # the version is not held yet
        self._unreadable = self._copy = ""
        if place == self._seen:
            return
        self._seen = place
        try:
            version = await asyncio.to_thread(self._source.find)
        except _REFUSALS as error:
            await self._refuse(place, str(error))
            return
        self._seen = version.place
        current = self.current
        if version.number == current.version.number:  # moved away and back
            current.version = version
            self._refused = ""
            await self._remember(version)
            return
        if self._turn is None:
            await self._change(version)
        elif await asyncio.to_thread(self._turn.take):
            try:
                await self._change(version)
            finally:
                await asyncio.to_thread(self._turn.end)
        else:
            self._seen = current.version.place  # look again

    async def _change(self, version: Version) -> None:
        old, drains = self.current, version.settings.swap == "drain"
        logger.info(
            "model %s: loading version %s; version %s serves",
            self._name,
            version.number,
            old.version.number,
        )
        try:
            if not drains:
                _check_room(version)
            await asyncio.to_thread(try_model, version.settings)
            if drains:
                self._open.clear()
                await old.drained()
                old.close()
            self._serving = await self._load(version)
        except _REFUSALS as error:
            await self._refuse(version.place, f"version {version.number}: {error}")
            if drains and not self._open.is_set():
                self._serving = await self._load(old.version)
            return
        finally:
            self._open.set()
        self._refused = ""
        logger.info("model %s: version %s serves", self._name, version.number)
        await self._remember(version)
        if not drains:
            await old.drained()
            old.close()
        await self._hold(version)

    async def _load(self, version: Version) -> Serving:
        return await Serving.load(self._name, version, self._meter, identifies=self._identifies)

    async def _served_last(self, error: OSError | UnknownModelError) -> Version:
        """The version that served last, if the registry is out of reach; else raises `error`."""
        version = await asyncio.to_thread(self._source.served_last, error)
        if version is None:
            raise error
        self._renewed = time.monotonic()
        self._unreadable = str(error)
        self._copy = f"version {version.number} served last, and was loaded from its copy"
        logger.error("model %s: %s: %s", self._name, self._source, self.refused)
        return version

    async def _remember(self, version: Version) -> None:
        try:
            await asyncio.to_thread(self._source.remember, version)
        except OSError as error:
            logger.warning(
                "model %s: it could not start without the registry: %s", self._name, error
            )

    async def _hold(self, version: Version) -> None:
        """Keep the version that serves from being removed from the registry, and no other."""
        self._renewed = time.monotonic()
        before, changed = self._lease, self._held != version.number
        try:
            if changed or self._lease is None:
                self._lease, self._held = self._source.lease(version), version.number
            if self._lease is not None:
                await asyncio.to_thread(self._lease.renew)
            if changed and before is not None:
                await asyncio.to_thread(before.end)
        except OSError as error:  # a registry that may only be read is served from all the same
            logger.info("model %s: its version is not held: %s", self._name, error)

    async def _refuse(self, place: str, reason: str) -> None:
        self._refused = reason
        self._meter.refused()
        self._say_refused(reason)
        try:
            await asyncio.to_thread(self._source.refuse, place, reason)
        except OSError as error:  # a registry that may only be read is served from all the same
            logger.info("model %s: the history of its alias does not say so: %s", self._name, error)

    def _say_refused(self, reason: str) -> None:
        serves, source = self.current.version.number, self._source
        logger.error(
            "model %s: version %s goes on serving; %s: %s", self._name, serves, source, reason
        )


def _check_room(version: Version) -> None:
    """Check that there is memory for a second version.

    Raises:
        EngineError: there is not.
    """
    needed, there = _LOADING_FACTOR * version.bytes, available_bytes()
    if there < needed:
        raise EngineError(
            f"there is no memory to load it beside the version that serves: {size_text(there)} are "
            f"free, {size_text(needed)} are needed; give the machine more, or set `swap: drain`"
        )

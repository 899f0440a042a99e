"""The pages of tries: the form, and what came of one."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from typing import Annotated

import msgspec
from litestar import Litestar, Response, get, post
from litestar.datastructures import UploadFile
from litestar.enums import RequestEncodingType
from litestar.exceptions import ClientException, NotFoundException
from litestar.params import Body, Parameter
from litestar.response import Redirect, Template

from schemas.failures import RecordError
from schemas.settings import AUTO, Settings
from serve_app.audio import AudioError
from serve_app.audio.clip import SAMPLE_RATE, Recording
from serve_app.audio.sandbox import MediaDecoder
from serve_app.router.protocol import Backend
from workers.console.access import needs
from workers.console.audio import answer, refusal, wav_of
from workers.console.audit import audit
from workers.console.errors import Unavailable
from workers.console.pages import Page
from workers.console.rendering import page
from workers.console.state import AnyRequest, Console
from workers.console.trial.asking import Answer, ask
from workers.console.trial.ballot import Ballot, Choice
from workers.console.trial.trials import Trial, Trials
from workers.console.utterance.page import message_at_place, transcript_of
from workers.console.utterance.view import View, view_of

#: Longest audio that may be tried, in seconds: somebody waits for it.
MAX_SECONDS = 300.0


class Form(msgspec.Struct):
    """What is sent: a file, and one or two models or plans."""

    file: UploadFile
    first: str = AUTO
    second: str = ""
    blind: str = ""


class VoteForm(msgspec.Struct):
    """What is sent as a vote on two answers without names."""

    choice: Choice


class AgainForm(msgspec.Struct):
    """What is sent to try an utterance of the stream again: a model or plan."""

    target: str


class Bench:
    """What tries need: a decoder, the Router, and what came of earlier ones.

    Both are started when they are needed first. Belongs to one event loop.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._starting = asyncio.Lock()
        self._decoder: MediaDecoder | None = None
        self._backend: Backend | None = None
        self.trials = Trials()
        self.ballot = Ballot()

    async def recording(self, file: UploadFile) -> Recording:
        """The audio of an upload.

        Raises:
            ClientException: it is none, or too long.
        """
        async with self._starting:
            if self._decoder is None:
                limits = msgspec.structs.replace(
                    self._console.settings.audio, max_seconds=MAX_SECONDS
                )
                decoder = MediaDecoder(limits, workers=1, sample_rate=SAMPLE_RATE)
                await decoder.start()
                self._decoder = decoder
        await asyncio.to_thread(file.file.rollover)
        try:
            return await self._decoder.decode(file.file.fileno(), name="the file")
        except AudioError as error:
            raise ClientException(error.message) from None

    async def backend(self) -> Backend:
        """The Router.

        Raises:
            ConnectionError: there is none.
        """
        async with self._starting:
            if self._backend is None:
                self._backend = await asyncio.to_thread(self._console.connect)
            return self._backend

    async def asked(
        self,
        request: AnyRequest,
        recording: Recording,
        name: str,
        targets: Sequence[str],
        *,
        blind: bool = False,
    ) -> Response[str]:
        """Ask models or plans; the answer leads the browser to the page of what came of it.

        Args:
            request: whose user acts.
            recording: the audio.
            name: of it, for people.
            targets: names of models or plans, `AUTO` among them.
            blind: whether they are shown in any order, and named only after a vote.

        Raises:
            ClientException: it is too long.
            ConnectionError: there is no Router.
            Unavailable: it does not answer in time.
        """
        seconds = len(recording.clip) / SAMPLE_RATE
        if seconds > MAX_SECONDS:
            raise ClientException(f"has {seconds:.0f} s; at most {MAX_SECONDS:.0f} s may be tried")
        backend = await self.backend()
        if blind:
            targets = secrets.SystemRandom().sample(targets, len(targets))
        wanted = [None if each == AUTO else each for each in targets]
        try:
            answers = await asyncio.gather(
                *(ask(backend, "try", recording, target) for target in wanted)
            )
        except TimeoutError:
            raise Unavailable("the models did not answer in time; try again") from None
        trial = Trial(name[:200], wav_of(recording.clip), tuple(answers), time.time(), blind)
        user = self._console.user(request)
        audit(user, "try", ", ".join(targets), why=f"{seconds:.1f} s of audio")
        return Response("", headers={"hx-redirect": f"/try/{self.trials.keep(trial)}"})

    async def close(self) -> None:
        """End the decoder's processes."""
        if self._decoder is not None:
            await self._decoder.close()


async def start(app: Litestar) -> None:
    """Make the bench; a hook of Litestar's."""
    app.state.bench = Bench(app.state.console)


async def stop(app: Litestar) -> None:
    """Close it; a hook of Litestar's."""
    await app.state.bench.close()


@get("/try", guards=[needs("act")], sync_to_thread=False)
def show_try(request: AnyRequest, console: Console) -> Template:
    """The form."""
    bench: Bench = request.app.state.bench
    return page(
        request,
        "try.html.j2",
        targets=_targets(console.settings),
        most_s=MAX_SECONDS,
        tallies=bench.ballot.tallies,
    )


@post("/try", guards=[needs("act")], status_code=200)
async def try_it(
    request: AnyRequest,
    console: Console,
    data: Annotated[Form, Body(media_type=RequestEncodingType.MULTI_PART)],
) -> Response[str]:
    """Transcribe; the answer leads the browser to the page of what came of it."""
    names = list(dict.fromkeys(filter(None, (data.first, data.second))))
    known = _targets(console.settings)
    if not names or any(name not in known for name in names):
        raise ClientException(f"there is no such model or plan; there are {', '.join(known)}")
    if data.blind and len(names) != 2:
        raise ClientException("to compare without names takes two models or plans")
    bench: Bench = request.app.state.bench
    await bench.backend()  # whoever asks in vain need not wait for the decoder
    recording = await bench.recording(data.file)
    name = data.file.filename or "recording"
    return await bench.asked(request, recording, name, names, blind=bool(data.blind))


@post("/utterances/{place:str}/again", guards=[needs("act")], status_code=200)
async def try_again(
    request: AnyRequest,
    console: Console,
    place: str,
    data: Annotated[AgainForm, Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> Response[str]:
    """Transcribe an utterance of the stream again; it stays as it is in the topic."""
    if data.target not in _targets(console.settings):
        raise ClientException("these settings have no such model or plan")
    transcript = transcript_of(await message_at_place(console, place))
    try:
        recording = await console.audio.recording(transcript)
    except AudioError as error:
        raise refusal(error) from None
    bench: Bench = request.app.state.bench
    return await bench.asked(request, recording, transcript.id, [data.target])


@get("/try/{name:str}", guards=[needs("speech")])
async def show_trial(request: AnyRequest, console: Console, name: str) -> Template:
    """What came of a try."""
    trial = _trial(request, name)
    if trial.blind:
        texts = [_text(each) for each in trial.answers]
        source = f"/try/{name}/audio"
        return page(request, "trial_blind.html.j2", trial=trial, texts=texts, source=source)
    views = [await asyncio.to_thread(_view, each, console.settings) for each in trial.answers]
    return page(
        request,
        "trial.html.j2",
        trial=trial,
        answers=list(zip(trial.answers, views, strict=True)),
        source=f"/try/{name}/audio",
    )


@post("/try/{name:str}/vote", guards=[needs("act")], status_code=303)
async def vote(
    request: AnyRequest,
    console: Console,
    name: str,
    data: Annotated[VoteForm, Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> Redirect:
    """Say which of two answers is better; then it is shown whose they are."""
    trial = _trial(request, name)
    if trial.blind:
        trial.blind = False
        first, second = (each.target or AUTO for each in trial.answers)
        bench: Bench = request.app.state.bench
        bench.ballot.count(first, second, data.choice)
        audit(console.user(request), "vote", f"{first}, {second}", why=data.choice)
    return Redirect(f"/try/{name}", status_code=303)


@get("/try/{name:str}/audio", guards=[needs("speech")], sync_to_thread=False)
def trial_audio(
    request: AnyRequest,
    name: str,
    range_: Annotated[str | None, Parameter(header="range")] = None,
) -> Response[bytes]:
    """The audio as WAV, or a range of its bytes."""
    return answer(_trial(request, name).wav, range_)


def _trial(request: AnyRequest, name: str) -> Trial:
    bench: Bench = request.app.state.bench
    found = bench.trials.get(name)
    if found is None:
        raise NotFoundException("this try is kept no more; only the latest ones are")
    return found


def _text(found: Answer) -> str:
    """What a voter sees of an answer."""
    result = found.result
    return f"({result.code})" if isinstance(result, RecordError) else result.pred_text


def _view(found: Answer, settings: Settings) -> View | None:
    if isinstance(found.result, RecordError):
        return None
    return view_of(found.result, settings, found.members or None)


def _targets(settings: Settings) -> list[str]:
    return [AUTO, *settings.plans, *settings.models]


PAGE = Page(
    "Try it",
    "/try",
    "act",
    (show_try, try_it, try_again, show_trial, vote, trial_audio),
    start,
    stop,
)

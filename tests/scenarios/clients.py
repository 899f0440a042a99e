"""Real clients, unchanged, against a running `chorus serve`: of OpenAI's API, and of HTTP itself.

Each client is installed from its registry into a folder of its own below the cache, and a small
program (`client_programs`) tries with it what its users do. A client whose toolchain is not on this
machine is skipped by name; one that cannot be installed or built counts as failed. The last line
is JSON: the cases tried and passed for each client. The exit code is 1 if one failed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import soundfile
from rich.console import Console

from deploy.demo import SPEECH
from deploy.local import LocalStack
from schemas.settings import HttpSettings
from tests.scenarios.settings import BASE, fault_settings
from tests.standin import text_of
from workers.broker.ports import free_ports

PROGRAMS = Path(__file__).parent / "client_programs"
KEY = "the-key-of-the-clients"
#: Names that the clients have built in, or send because their users know them.
ALIASES = {
    "whisper-1": "auto",
    "gpt-4o-transcribe": "auto",
    "Systran/faster-whisper-large-v3": "vote",
}
#: Seconds to install and build a client, and for its program to run.
_INSTALL_S, _RUN_S = 1200, 300

console = Console(stderr=True, highlight=False)


class Client(NamedTuple):
    """A client, with how it is installed and run.

    Attributes:
        name: of the client.
        folder: of its program, in `PROGRAMS`.
        needs: programs that must be on this machine.
        install: commands, run in the client's folder below the cache.
        run: the command, run there too; the arguments of the program follow.
        environment: variables for both, with folders below that folder.
    """

    name: str
    folder: str
    needs: Sequence[str]
    install: Sequence[Sequence[str]]
    run: Sequence[str]
    environment: Mapping[str, str] = MappingProxyType({})


def _python(name: str, program: str, *packages: str) -> Client:
    install = [[sys.executable, "-m", "venv", "env"]]
    install.append(["env/bin/python", "-m", "pip", "install", "--quiet", *packages])
    return Client(name, "python", (), install, ["env/bin/python", program])


def _node(name: str, program: str) -> Client:
    install = ["npm", "install", "--no-audit", "--no-fund", "--silent", "--legacy-peer-deps"]
    return Client(name, "node", ("node", "npm"), [install], ["node", program])


def _maven(name: str, folder: str, program: str) -> Client:
    install = ["mvn", "-q", "-B", "-Dmaven.repo.local=repository", "compile"]
    copy = ["dependency:copy-dependencies", "-DoutputDirectory=jars"]
    run = ["java", "-cp", "target/classes:jars/*", program]
    return Client(name, folder, ("java", "mvn"), [[*install, *copy]], run)


CLIENTS = (
    _python("openai-python", "openai_client.py", "openai==3.57.0"),
    _python("litellm", "litellm_client.py", "litellm==1.110.2"),
    _node("openai-node", "openai.mjs"),
    _node("ai-sdk", "ai-sdk.mjs"),
    _node("langchain-js", "langchain.mjs"),
    _maven("openai-java", "java", "Client"),
    _maven("spring-ai", "spring", "Client"),
    Client(
        "openai-go",
        "go",
        ("go",),
        [["go", "build", "-mod=mod", "-modcacherw", "-o", "client", "."]],
        ["./client"],
        {"GOMODCACHE": "modules", "GOCACHE": "build"},
    ),
    Client(
        "async-openai",
        "rust",
        ("cargo",),
        [["cargo", "build", "--quiet"]],
        ["target/debug/client"],
    ),
    _python("requests", "requests_client.py", "requests==2.34.2"),
    _python("aiohttp", "aiohttp_client.py", "aiohttp==3.14.5"),
    Client("curl", "curl", ("curl",), [], ["sh", "client.sh"]),
    Client("browser", "browser", ("chromium",), [], [sys.executable, "client.py"]),
)


class Outcome(NamedTuple):
    """What became of a client.

    Attributes:
        passed: cases that went well.
        failed: the others, with the reason.
    """

    passed: list[str]
    failed: list[str]


def try_client(client: Client, cache: Path, arguments: Sequence[str]) -> Outcome:
    """Install a client, if that is not done, and run its program.

    Args:
        client: the client.
        cache: folder of all clients.
        arguments: of the program: base URL, key, a file and the text in it.
    """
    folder = cache / client.name
    shutil.copytree(PROGRAMS / client.folder, folder, dirs_exist_ok=True)
    folders = {name: str(folder / value) for name, value in client.environment.items()}
    environment = {**os.environ, **folders}
    try:
        for command in client.install:
            _run(command, folder, environment, _INSTALL_S)
        output = _run([*client.run, *arguments], folder, environment, _RUN_S)
    except (subprocess.SubprocessError, OSError) as error:
        said = getattr(error, "stderr", None) or getattr(error, "stdout", None) or ""
        return Outcome([], [f"{error}: {said[-2000:]}"])
    lines = output.splitlines()
    return Outcome(
        [line.removeprefix("ok ") for line in lines if line.startswith("ok ")],
        [line.removeprefix("failed ") for line in lines if line.startswith("failed ")],
    )


def _run(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], timeout_s: float
) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return done.stdout


def scenario_settings() -> dict[str, Any]:
    """Two stand-ins for models, a vote of them, aliases and a key."""
    settings = fault_settings("stand-in", replicas=1)
    settings["models"]["medical"] = settings["models"]["general"]
    settings["plans"] = {"vote": {"ensemble": ["general", "medical"]}}
    settings["http"] = {
        "port": free_ports(1)[0],
        "num_cpus": 0.1,
        "models": ALIASES,
        "keys": {"clients": {"sha256": hashlib.sha256(KEY.encode()).hexdigest()}},
        "wrong_keys_per_minute": 1000,
        "allowed_origins": ["*"],
    }
    return settings


def cache_folder() -> Path:
    """Where the clients are installed: below XDG_CACHE_HOME, by default ~/.cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "chorus-asr" / "clients"


def try_all(clients: Sequence[Client], cache: Path) -> dict[str, Outcome | None]:
    """Try each client against a stack of its own; None for one whose toolchain is missing."""
    found: dict[str, Outcome | None] = {}
    with LocalStack(scenario_settings(), BASE) as stack, tempfile.TemporaryDirectory() as folder:
        stack.start_serve()
        clip, rate = soundfile.read(SPEECH / "general" / "general-demo-00001.flac", dtype="float32")
        speech = Path(folder) / "speech.wav"
        soundfile.write(speech, clip, rate, subtype="PCM_16")
        text = text_of(soundfile.read(speech, dtype="float32")[0])
        stack.wait_for_serve()
        http = stack.settings.http or HttpSettings()
        arguments = [f"http://{http.host}:{http.port}/v1", KEY, str(speech), text]
        for client in clients:
            missing = [each for each in client.needs if shutil.which(each) is None]
            if missing:
                console.print(f"{client.name}: skipped, no {', '.join(missing)} on this machine")
                found[client.name] = None
                continue
            outcome = found[client.name] = try_client(client, cache, arguments)
            tried = len(outcome.passed) + len(outcome.failed)
            console.print(f"{client.name}: {len(outcome.passed)} of {tried}")
            for each in outcome.failed:
                console.print(f"  failed: {each}", markup=False, soft_wrap=True)
        stack.check_all()
    return found


def main() -> int:
    """Try the clients; print a line for each and, last, the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", help="names of clients")
    given = parser.parse_args()
    clients = [each for each in CLIENTS if not given.only or each.name in given.only]
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    found = try_all(clients, cache)
    figures = {
        name: "skipped"
        if outcome is None
        else {"tried": len(outcome.passed) + len(outcome.failed), "passed": len(outcome.passed)}
        for name, outcome in found.items()
    }
    print(json.dumps({"clients": figures}))
    return int(any(outcome is not None and outcome.failed for outcome in found.values()))


if __name__ == "__main__":
    sys.exit(main())

"""Which extras of the distribution a command needs."""

from __future__ import annotations

from serve_app.system.logs import PACKAGES

_EVALUATION = ("benchmark", "calibrate", "compare", "rollout", "validate")
_KAFKA = ("dead-letters", "offsets", "produce", "tail", "topics")

#: Packages of the extra `stream`, which `chorus serve` needs only with `--worker`.
_STREAM_PACKAGES = ("crc32c", "kafka", "lz4")
#: Extras by command; the others need none.
_EXTRAS = {
    **dict.fromkeys(_EVALUATION, "evaluation"),
    **dict.fromkeys(_KAFKA, "stream"),
    "broker": "broker",
    "console": "console",
    "doctor": "evaluation",
    "engine": "evaluation",
    "explain": "serve",
    "finetune": "finetune",
    "models": "serve",
    "quality": "serve,stream",
    "serve": "serve",
    "status": "serve",
    "stream": "serve,stream",
    "transcribe": "serve,stream",
}


def missing_package(command: str, error: ModuleNotFoundError) -> str | None:
    """What to install where `error` says that a package of an extra is missing.

    Args:
        command: the subcommand that was running, as it is written on the command line.
        error: what importing raised.

    Returns:
        One line; None where `command` needs no extra or the module is the project's own, so that
        something else is wrong.
    """
    module = (error.name or "").partition(".")[0]
    extra = _EXTRAS.get(command)
    if extra is None or not module or module in PACKAGES:
        return None
    if command == "serve" and module in _STREAM_PACKAGES:
        extra = "serve,stream"
    if module == "mlflow":
        extra = "mlflow"
    return (
        f"`chorus {command}` needs the package {module}, which is not installed: "
        f"pip install 'chorus-asr[{extra}]'"
    )

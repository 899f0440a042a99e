"""Likely causes of known messages: of NeMo, torch, the reader of model files and the system."""

from __future__ import annotations

import re

import msgspec

from workers.doctor.finding import Finding, failure


class Cause(msgspec.Struct, frozen=True):
    """A row of `CAUSES`.

    Attributes:
        pattern: regular expression that is searched in the message.
        cause: the likely cause.
        next: what to do.
    """

    pattern: str
    cause: str
    next: str


#: The first row that fits a message is taken, so that special ones stand before general ones.
CAUSES: tuple[Cause, ...] = (
    Cause(
        r"the speech of the trial",
        "the clips, not the model: a recording of the manifest cannot be read",
        "`chorus validate` lists all faults of a manifest",
    ),
    Cause(
        r"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD",
        "torch is told to run the code in model files",
        "unset the environment variable TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD",
    ),
    Cause(
        r"No space left on device|Disk quota exceeded",
        "the disk is full: a model file is unpacked into the temporary folder",
        "free the disk, or set TMPDIR to a folder with room for the file",
    ),
    Cause(
        r"^(\w+: )?No module named",
        "the libraries for models are not installed in this Python",
        "`pip install 'chorus-asr[serve]'`, in the environment that `chorus` runs from",
    ),
    Cause(
        r"ImportError|undefined symbol|cannot import name",
        "libraries of versions that do not fit each other",
        "install the pinned ones (`chorus doctor` names those that differ)",
    ),
    Cause(
        r"there is no module",
        "the module of the engine is not on the Python path",
        "install its package, or set PYTHONPATH to the folder that it is in",
    ),
    Cause(
        r"engine '.*': importing .* fails",
        "the module of the engine has a fault, or lacks a library",
        "import it in Python: `python -c 'import MODULE'` shows all of the error",
    ),
    Cause(
        r"has no class `",
        "the settings name another class than the module has",
        "correct `engine: package.module:Class`",
    ),
    Cause(
        r"has no `|`transcribe` takes no requests|its `\w+` is (of the type|not above)",
        "the class is no engine: it lacks a member, or its `transcribe` takes other arguments",
        "follow the protocol `serve_app.engines.base.Engine`",
    ),
    Cause(
        r"has SHA-256 .* expected|has another content than when",
        "another file than the one that was registered or named, or a copy that broke off",
        "copy the file again, or correct `sha256`; `chorus models verify` compares versions",
    ),
    Cause(
        r"timestamps_asr_model_.*: its model class is not",
        "the second model in the file, which is to time words, cannot do that",
        "save the model again with NeMo's `save_to`, or get the file from its maker",
    ),
    Cause(
        r"its model class .* is not supported",
        "a class that Chorus does not serve, such as a speaker or translation model",
        "take a CTC, RNN-T, TDT or hybrid model of NeMo, or write an engine of your own",
    ),
    Cause(
        r"size mismatch|[Mm]issing key|[Uu]nexpected key|Error\(s\) in loading state_dict"
        r"|more parameters than its weights|equal to the num_classes",
        "the weights do not belong to the configuration, or are of another version of NeMo",
        "save the model again with NeMo's `save_to`, with one version of NeMo",
    ),
    Cause(
        r"torch\.save|TorchScript|older than torch|byte order|not a mapping of names to tensors",
        "weights in another format than NeMo's",
        "load the model with the NeMo that made it, and save it with `save_to`",
    ),
    Cause(
        r"_target_ is .* not allowed there|has no argument|; (supported|allowed) are",
        "a part that Chorus does not serve: of another version of NeMo, or put there to run code",
        "if its maker is known, save it again with the NeMo that is installed; otherwise do not "
        "load it, here or elsewhere",
    ),
    Cause(
        r"not allowed|refers? to|points outside|names a file outside|is not plain YAML"
        r"|other than tensors|contains (YAML|a YAML|an interpolation)|two members"
        r"|member .* is not a regular file|has (more than|too many|an extended)|nested more than"
        r"|unpacks to more|not a valid name",
        "the file asks for more than data (code, files outside it), or is made to break readers",
        "do not load it elsewhere either; get the model from its maker",
    ),
    Cause(
        r"No such file|no such file|does not exist|\[Errno 2\]",
        "the file was moved, or the path is seen from another folder",
        "correct the path; relative ones are relative to the settings file",
    ),
    Cause(
        r"Permission denied|\[Errno 13\]",
        "the file may not be read by this user",
        "`chmod` or `chown` it, and the folders above",
    ),
    Cause(
        r"cannot be read as a \.nemo archive|damaged|end too early|more data than the file"
        r"|it is not a NeMo model|is not a regular file|after the end of the archive"
        r"|not in the (file|archive)"
        r"|two entries|tokenizer cannot be read|not UTF-8|is not a mapping",
        "a damaged file, a download that broke off, or no .nemo file at all",
        "compare its size and `sha256sum` with its source, and fetch it again",
    ),
    Cause(
        r"took more memory|out of memory|can't allocate memory|bad_alloc|MemoryError"
        r"|STATUS_ALLOC_FAILED|exit code -9\b",
        "too little memory for this model beside what runs already",
        "free memory or take a larger machine; on a GPU raise `gpu_fraction` or lower "
        "`batch_seconds`",
    ),
    Cause(
        r"the GPU failed|CUDA error|CUDA driver|NVIDIA driver|CUDA enabled|no kernel image|cuDNN",
        "the GPU, its driver and this torch do not go together, or the GPU is faulty",
        "compare `nvidia-smi` with `python -c 'import torch; print(torch.version.cuda)'`; update "
        "the driver",
    ),
    Cause(
        r"exit code -(4|6|7|8|11)\b",
        "a native library crashed, often one that was built for another processor",
        "install the pinned libraries again; run `python -X faulthandler` to see which one",
    ),
    Cause(
        r"did not end within",
        "the file is on a slow disk or network, or the engine waits for something",
        "copy the model to a local disk; look what the process waits for",
    ),
    Cause(
        r"cannot be downloaded",
        "the hub cannot be reached, or the model needs a login",
        "try `curl -I https://huggingface.co`; set HTTPS_PROXY or HF_TOKEN; or copy the file here "
        "and give its `path`",
    ),
    Cause(
        r"NeMo knows no pretrained model|cannot be the name of a model",
        "a misspelt name, or one of another catalogue",
        "take a name of NVIDIA's catalogue, or OWNER/MODEL of the Hugging Face hub",
    ),
    Cause(
        r"has no '\w+' head",
        "the settings want a decoder that the model does not have",
        "leave `head` out, or set it to the one that the message names",
    ),
    Cause(
        r"fails on .* of noise|fails on noise|rejects a second of noise|the engine .* fails",
        "the model loads, and does not run: weights that are not finite, or a faulty engine",
        "try `dtype: float32`; for an engine of your own, call its `transcribe` in Python",
    ),
    Cause(
        r"cannot be loaded:",
        "NeMo cannot build this model: of another version, or with a part that was changed",
        "load it with NeMo's own `restore_from`; if that works, report the message",
    ),
    Cause(
        r"^engine '.*': \w+",
        "the constructor of the engine raised: over its options, its files or a fault of its own",
        "make it in Python with the same settings to see the whole error; see `options` and `path`",
    ),
)

_UNKNOWN = "report the message with the output of `chorus doctor`"


def cause_of_message(message: str) -> Cause | None:
    """The row of `CAUSES` for a message; None for an unknown one."""
    return next((each for each in CAUSES if re.search(each.pattern, message)), None)


def failure_of(name: str, message: str) -> Finding:
    """The failure that `message` tells of, with its likely cause."""
    found = cause_of_message(message)
    if found is None:
        return failure(name, message, next=_UNKNOWN)
    return failure(name, message, cause=found.cause, next=found.next)

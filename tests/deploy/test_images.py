"""The Containerfile and what it is built from, as far as it can be known without building it."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.local import ROOT

CONTAINERFILE = (ROOT / "deploy/image/Containerfile").read_text()
#: Its instructions, each in one line, without comments.
INSTRUCTIONS = re.sub(r"^(#.*)?\n", "", CONTAINERFILE, flags=re.M).replace("\\\n", "").splitlines()
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
LOCKED = dict(
    re.findall(r"^([\w.-]+)==(\S+) \\$", (ROOT / "requirements.lock").read_text(), flags=re.M)
)
TARGETS = ("stream", "serve")


def stage(name: str) -> list[str]:
    """The instructions of a stage, and before them those of the stages that it is made from."""
    [start] = [
        number
        for number, line in enumerate(INSTRUCTIONS)
        if re.fullmatch(rf"FROM \S+ AS {name}", line)
    ]
    lines = [INSTRUCTIONS[start]]
    for line in INSTRUCTIONS[start + 1 :]:
        if line.startswith("FROM "):
            break
        lines.append(line)
    base = lines[0].split()[1]
    return lines if base == "${BASE}" else [*stage(base), *lines]


def packages(extra: str) -> set[str]:
    """The distributions that the project and an extra name, without their own dependencies."""
    found: set[str] = {
        canonicalize_name(Requirement(each).name) for each in PROJECT["dependencies"]
    }
    for text in PROJECT["optional-dependencies"][extra]:
        requirement = Requirement(text)
        if requirement.name == PROJECT["name"]:
            for other in requirement.extras:
                found |= packages(other)
        else:
            found.add(canonicalize_name(requirement.name))
    return found


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_runs_chorus_as_the_user_of_the_manifests(target: str) -> None:
    lines = stage(target)
    service = yaml.safe_load((ROOT / "deploy/kubernetes/base/rayservice.yaml").read_text())
    head = service["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]
    user = head["securityContext"]["runAsUser"]
    assert lines[-1].strip() == f"USER {user}:{user}"
    assert any(f"--uid {user} --gid {user}" in line for line in lines)
    assert 'ENTRYPOINT ["/opt/chorus/bin/chorus"]' in lines
    copied = [line.split()[-1] for line in lines if line.startswith("COPY ")]
    assert copied == ["/usr/share/chorus/sbom.json", "/opt/chorus"], "no tools, no sources"


def test_images_have_the_names_that_the_manifests_look_for() -> None:
    for overlay in (ROOT / "deploy/kubernetes/overlays").iterdir():
        named = yaml.safe_load((overlay / "kustomization.yaml").read_text())["images"]
        assert {each["name"].removeprefix("chorus-") for each in named} <= set(TARGETS)
        assert all(each["newTag"].startswith(PROJECT["version"]) for each in named)


def test_every_package_comes_with_a_hash_from_the_lock() -> None:
    installs = [
        command
        for line in INSTRUCTIONS
        for command in re.findall(r"uv (?:pip install|build) [^&]+", line)
    ]
    assert len(installs) == 6
    for command in installs:
        # what packages are built with, where they have no wheel, is locked too
        locked = "--require-hashes" in command
        if "bill.lock" not in command:
            locked = locked and "--build-constraints requirements.lock" in command
            if "uv pip install" in command:
                locked = locked and " --constraints requirements.lock" in command
        ours_alone = "--no-deps /dist/*.whl" in command
        assert locked or ours_alone, command
    assert packages("stream") | packages("serve") <= LOCKED.keys()
    assert "setuptools" in LOCKED
    bill = (ROOT / "deploy/image/bill.lock").read_text()
    assert re.search(r"^cyclonedx-bom==\S+ \\\n +--hash=sha256:", bill, flags=re.M)


def test_nothing_makes_processes_of_ray_start_slowly() -> None:
    """Ray imports jsonschema, and that what checks its formats: 3 s for each process."""
    assert "rfc3987-syntax" not in LOCKED


def test_the_image_of_stream_workers_asks_for_neither_torch_nor_ray() -> None:
    assert not packages("stream") & {"torch", "ray", "numpy", "nemo-toolkit"}
    [install] = [line for line in stage("stream-packages") if "--extra" in line]
    assert re.findall(r"--extra (\S+)", install) == ["stream"]


def test_uv_is_that_of_the_makefile() -> None:
    [wanted] = re.findall(r"^UV +:= uv==(\S+)$", (ROOT / "Makefile").read_text(), flags=re.M)
    assert f"ARG UV_VERSION={wanted}" in INSTRUCTIONS


def test_the_context_has_what_is_copied_and_nothing_else() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    admitted = {line.removeprefix("!/") for line in ignored if line.startswith("!/")}
    copied = {
        name
        for line in INSTRUCTIONS
        if line.startswith("COPY ") and "--from" not in line
        for name in line.split()[1:-1]
    }
    assert copied - {"${LOCK}"} == admitted - {"requirements*.lock"}
    packaged = PYPROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {each.removesuffix("*") for each in packaged} <= copied

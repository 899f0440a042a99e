"""The `kafka-acls.sh` commands of docs/operations.md, as entries that the admin client creates."""

from __future__ import annotations

import argparse
import itertools
import re
import shlex
from collections.abc import Iterator

from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourceType,
)

from deploy.local import ROOT

_COMMAND = re.compile(r"^\$acls (.+)$", re.MULTILINE)
#: What may be given several times.
_RESOURCES = {
    "--topic": ResourceType.TOPIC,
    "--group": ResourceType.GROUP,
    "--transactional-id": ResourceType.TRANSACTIONAL_ID,
}


def entries(name: str) -> list[ACL]:
    """Every entry that the page's commands add.

    Args:
        name: stands in the place of the page's group, and of `asr` in its topics' names.
    """
    page = (ROOT / "docs" / "operations.md").read_text()
    return [entry for command in _COMMAND.findall(page) for entry in _added(command, name)]


def _added(command: str, name: str) -> Iterator[ACL]:
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("principal")
    parser.add_argument("--operation", action="append", default=[])
    parser.add_argument("--resource-pattern-type", default="literal")
    for option in _RESOURCES:
        parser.add_argument(option, action="append", default=[])
    given = vars(parser.parse_args(shlex.split(command, comments=True)))
    pattern = ACLResourcePatternType[given["resource_pattern_type"].upper()]
    for option, kind in _RESOURCES.items():
        resources = given[option.strip("-").replace("-", "_")]
        for resource, operation in itertools.product(resources, given["operation"]):
            renamed = re.sub(r"^(asr|chorus)\b", name, resource)
            yield ACL(
                given["principal"],
                "*",
                ACLOperation[re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).upper()],
                ACLPermissionType.ALLOW,
                ResourcePattern(kind, renamed, pattern),
            )

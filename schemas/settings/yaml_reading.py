"""Reading YAML: its value, and the line that a key stands on.

PyYAML reads YAML 1.1, in which on, off, yes and no are booleans, and 2024-01-31 is a date. Here
they are texts, as in YAML 1.2 and in editors: `quick_start: off` is a value of that name, and `no`
the language Norwegian. And 1e-3, a text in YAML 1.1, is a number.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

_BOOLEAN = "tag:yaml.org,2002:bool"
_FLOAT = "tag:yaml.org,2002:float"
_MERGE = "tag:yaml.org,2002:merge"
_TIMESTAMP = "tag:yaml.org,2002:timestamp"


class _Loader(yaml.SafeLoader):
    """A safe loader with the booleans and numbers of YAML 1.2, and without dates.

    A key that stands twice in a mapping is an error, as in YAML 1.2: the second would replace the
    first, with all that is in it.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            if key.value in lines:
                raise yaml.MarkedYAMLError(
                    problem=f"the key `{key.value}` is on line {lines[key.value]} already",
                    problem_mark=key.start_mark,
                )
            lines[key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [each for each in resolvers if each[0] not in (_BOOLEAN, _TIMESTAMP)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    _BOOLEAN, re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF")
)
_Loader.add_implicit_resolver(
    _FLOAT, re.compile(r"[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+\Z"), list("-+0123456789")
)


class YamlText:
    """A text of one YAML document.

    Attributes:
        value: what it says, in plain Python types.

    Raises:
        yaml.YAMLError: the text is not YAML.
    """

    def __init__(self, text: str) -> None:
        self._node = yaml.compose(text, Loader=_Loader)
        self.value: Any = yaml.load(text, Loader=_Loader)

    def line(self, key: str) -> int:
        """The line, from 1, of a key path such as ``models.general.replicas``.

        Where the key itself has no line, it is the line of its nearest parent that has one.
        """
        line, node = 1, self._node
        for part in re.findall(r"[^.\[\]]+", key):
            if isinstance(node, yaml.MappingNode):
                found = [(k, v) for k, v in node.value if k.value == part]
                if not found:
                    break
                line, node = found[0][0].start_mark.line + 1, found[0][1]
            elif (
                isinstance(node, yaml.SequenceNode)
                and part.isdigit()
                and int(part) < len(node.value)
            ):
                node = node.value[int(part)]
                line = node.start_mark.line + 1
        return line

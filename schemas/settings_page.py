"""The page about the settings, `docs/settings.md`: ``python -m schemas.settings_page`` prints it.

It is a rendering of the JSON Schema of the settings, which has its texts from the docstrings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from schemas.json_schema import json_schema

_HEAD = """\
# Settings

<!-- Written by `python -m schemas.settings_page > docs/settings.md` from the docstrings in
     schemas/settings/. Change those and write it again. -->

One YAML file holds all settings: the one that `--settings` names, else the environment variable
`CHORUS_SETTINGS`, else `chorus.yaml` in the folder that the command is run in. `chorus check` finds
what is wrong in it before anything starts, with its line: unknown keys and values (with the nearest
that exist), contradictions, engines of your own that cannot be imported, names of pretrained models
that NeMo does not know. Commands to which all models are named by file (`chorus compare a.nemo
b.nemo`) go on without settings that are missing or wrong, unless `--settings` names them. Commands
that talk to Kafka alone (`produce`, `tail`, `topics`, `dead-letters`, `offsets`) do not look for
the files that the settings name.

Booleans are `true` and `false`, as in YAML 1.2; `yes`, `no`, `on` and `off` are texts.

An editor with the YAML language server (in VS Code the extension "YAML" by Red Hat) completes the
keys, shows what they mean and marks mistakes as you type. It needs the JSON Schema of this version

```bash
chorus schema settings > chorus.schema.json
```

and a first line in the settings file that names it:

```yaml
# yaml-language-server: $schema=chorus.schema.json
models:
  general: {path: models/general.nemo}
routing:
  default: general
audio:
  roots: [speech]
```

`NAME` is a name that you choose, `[]` an entry of a list. Shares may be written as on the
command line: `20%` is 0.2 (and 20 in `validation`, where the numbers are percent).
"""

_BOUNDS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
}

Schema = dict[str, Any]


def settings_page() -> str:
    """The whole page, in Markdown."""
    schema = json_schema("settings")
    paths: dict[str, str] = {}
    _find_sections(schema["$defs"], schema, "", paths)
    sections = (_section(schema["$defs"][name], paths, name) for name in paths)
    return "\n".join([_HEAD, *sections])


def _find_sections(definitions: Schema, node: Schema, path: str, paths: dict[str, str]) -> None:
    """Fill `paths` with the first key path of every definition that `node` leads to, in order."""
    if "$ref" in node:
        name = _referred(node)
        if name not in paths:
            paths[name] = path
            for key, value in definitions[name]["properties"].items():
                _find_sections(definitions, value, f"{path}.{key}".removeprefix("."), paths)
    for member in node.get("anyOf", ()):
        _find_sections(definitions, member, path, paths)
    if "items" in node:
        _find_sections(definitions, node["items"], f"{path}[]", paths)
    if isinstance(node.get("additionalProperties"), dict):
        _find_sections(definitions, node["additionalProperties"], f"{path}.NAME", paths)


def _section(definition: Schema, paths: dict[str, str], name: str) -> str:
    heading = f"## `{paths[name]}`" if paths[name] else "## The file"
    rows = [
        f"| `{key}` | {_type(value, paths)} | {_default(definition, key)} | {_cell(value)} |"
        for key, value in definition["properties"].items()
    ]
    table = ["| key | type | default | meaning |", "|---|---|---|---|", *rows]
    return "\n".join([heading, "", definition["description"], "", *table, ""])


def _type(node: Schema, paths: dict[str, str]) -> str:
    if "$ref" in node:
        path = paths[_referred(node)]
        return f"[`{path}`](#{re.sub(r'[^a-z0-9_-]', '', path.lower())})"
    if "enum" in node:
        return ", ".join(f"`{value}`" for value in node["enum"])
    if "anyOf" in node:
        return " or ".join(_alternatives(node, paths))
    if node.get("type") == "array":
        return f"list of {_type(node['items'], paths)}"
    if node.get("type") == "object":
        values = node.get("additionalProperties")
        return f"mapping of names to {_type(values, paths)}" if values else "mapping"
    kind = "text" if node["type"] == "string" else str(node["type"])
    bounds = [text.format(node[key]) for key, text in _BOUNDS.items() if key in node]
    if "pattern" in node:
        bounds.append(f"matching `{node['pattern']}`")
    return " ".join([kind, ", ".join(bounds)]).rstrip()


def _alternatives(node: Schema, paths: dict[str, str]) -> Iterator[str]:
    for member in node["anyOf"]:
        if member.get("type") != "null":
            yield _type(member, paths)


def _default(definition: Schema, key: str) -> str:
    if key in definition["required"]:
        return "required"
    default = definition["properties"][key].get("default")
    return "" if default is None else f"`{json.dumps(default)}`"


def _cell(node: Schema) -> str:
    return str(node["description"]).replace("|", r"\|")


def _referred(node: Schema) -> str:
    return str(node["$ref"]).removeprefix("#/$defs/")


if __name__ == "__main__":
    print(settings_page(), end="")

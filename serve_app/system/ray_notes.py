"""Short texts that every process on a Ray cluster can read, until they are deleted."""

from __future__ import annotations

from serve_app.system.ray_adapter import internal_kv


def put_note(group: str, name: str, text: str) -> None:
    """Leave a short text that every process on the cluster can read, until it is deleted. Blocks.

    Args:
        group: what the text is about.
        name: within the group.
        text: replaces an earlier one.
    """
    internal_kv._internal_kv_put(f"chorus-note:{group}:{name}", text)


def delete_note(group: str, name: str) -> None:
    """Take back what `put_note` left, if it is there. Blocks."""
    internal_kv._internal_kv_del(f"chorus-note:{group}:{name}")


def notes(group: str) -> dict[str, str]:
    """The texts that were left in a group, by name. Blocks."""
    prefix = f"chorus-note:{group}:"
    found = {
        key.decode().removeprefix(prefix): internal_kv._internal_kv_get(key)
        for key in internal_kv._internal_kv_list(prefix)
    }
    return {name: text.decode() for name, text in sorted(found.items()) if text is not None}

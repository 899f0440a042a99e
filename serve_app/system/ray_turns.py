"""What only one process on a Ray cluster does at a time."""

from __future__ import annotations

from serve_app.system.ray_adapter import ended, internal_kv, own_name


class Turn:
    """What only one process on the cluster does at a time; one that has ended does it no more.

    Args:
        name: of what is done.
    """

    def __init__(self, name: str) -> None:
        self._key = f"chorus-turn:{name}"

    def take(self) -> bool:
        """Begin, unless another process does it. Blocks for a moment."""
        me = own_name() or ""
        if not internal_kv._internal_kv_put(self._key, me, overwrite=False):
            return True
        owner = (internal_kv._internal_kv_get(self._key) or b"").decode()
        if owner and ended([owner]):
            internal_kv._internal_kv_put(self._key, me)
            owner = (internal_kv._internal_kv_get(self._key) or b"").decode()
        return owner == me

    def end(self) -> None:
        """Let others begin. Blocks for a moment."""
        internal_kv._internal_kv_del(self._key)

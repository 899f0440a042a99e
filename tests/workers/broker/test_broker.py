"""What one broker is started with; `test_cluster` starts it."""

from __future__ import annotations

import base64

from workers.broker.broker import new_cluster_id


def test_cluster_ids_are_what_kafkas_tools_take() -> None:
    ids = {new_cluster_id() for _ in range(2000)}
    assert len(ids) == 2000
    assert {len(base64.urlsafe_b64decode(f"{each}==")) for each in ids} == {16}
    assert not [each for each in ids if each.startswith("-")]

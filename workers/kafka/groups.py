"""Who is in a consumer group."""

from __future__ import annotations

from typing import Any

from kafka.errors import GroupAuthorizationFailedError

from schemas.settings import KafkaSettings
from workers.kafka.clients import make_admin


def group_members(kafka: KafkaSettings) -> list[dict[str, Any]]:
    """The members of the workers' group, as `KafkaAdminClient.describe_groups` describes them.

    Blocks and raises like `workers.kafka.clients.make_consumer`.

    Raises:
        kafka.errors.GroupAuthorizationFailedError: this user may not describe the group.
    """
    with make_admin(kafka) as admin:
        group = admin.describe_groups([kafka.group])[kafka.group]
    if GroupAuthorizationFailedError.__name__ in str(group.get("error")):
        raise GroupAuthorizationFailedError(f"this user may not describe group {kafka.group}")
    members: list[dict[str, Any]] = group["members"]
    return members


def static_member(kafka: KafkaSettings, instance_id: str) -> str | None:
    """Id of the member that holds `instance_id` in the group now; None where none does.

    Blocks and raises like `group_members`.
    """
    holders = [
        each["member_id"]
        for each in group_members(kafka)
        if each["group_instance_id"] == instance_id
    ]
    return holders[0] if holders else None

"""Removing the demonstration: its people are erased, its keys end, and nobody is in it any more."""

from contextlib import suppress

from audit.actors import Actor
from audit.erasure.services import AlreadyErasing
from audit.registry import Scope
from audit.services import record
from memoryhub.access.models import ApiKey, Membership, Workspace
from memoryhub.access.services import key_revoke
from memoryhub.core.tenancy import in_workspace
from memoryhub.erasing import erasure_start
from sessions.models import Subject


def demo_workspace_remove(*, workspace: Workspace, actor: Actor) -> int:
    """Remove a demonstration as a whole, in one transaction; returns how many people are being erased.

    What is erased goes from every table in the background, is verified and certified as any erasure is. The workspace's
    log stays. Raises ValueError for a workspace that is no demonstration, ErasureError where somebody holds a person's
    memory.
    """
    if not workspace.is_demo:
        raise ValueError(f"{workspace.slug} is no demonstration")
    with in_workspace(workspace.id):
        people = list(Subject.objects.filter(workspace_id=workspace.id).order_by("id").values_list("id", flat=True))
        for subject_id in people:
            # What is being erased already goes on by itself.
            with suppress(AlreadyErasing):
                erasure_start(
                    workspace_id=workspace.id, scope=Scope(subject_id), actor=actor, reason="demonstration_over"
                )
        for key in ApiKey.objects.filter(workspace_id=workspace.id, revoked_at__isnull=True):
            key_revoke(key=key, actor=actor)
        record(actor, "demo.removed", workspace, workspace_id=workspace.id, data={"subjects": len(people)})
        for member in Membership.objects.filter(workspace_id=workspace.id):
            data = {"role": member.role, "user_id": member.user_id}
            record(actor, "member.removed", member, workspace_id=workspace.id, data=data)
            member.delete()
    return len(people)

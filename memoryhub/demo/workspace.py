"""The demonstration in a workspace of its own, so that it can be looked at, tried on, and removed as a whole."""

from itertools import count

from django.db import transaction

from audit.actors import Actor
from memoryhub.access.models import Role, User, Workspace
from memoryhub.access.people import member_add
from memoryhub.access.services import agent_get_or_create, workspace_create
from memoryhub.demo.loading import load_demo

SLUG = "demo"
NAME = "Demonstration"
AGENT = "assistant"


def demo_workspace_create(*, user: User, actor: Actor) -> Workspace:
    """A workspace with three fictional people, weeks of sessions and superseded facts, administered by `user`."""
    with transaction.atomic():
        workspace = workspace_create(slug=_free_slug(), name=NAME, actor=actor, is_demo=True)
        member_add(workspace=workspace, user=user, role=Role.ADMIN, actor=actor)
        load_demo(agent=agent_get_or_create(workspace_id=workspace.id, name=AGENT, actor=actor), actor=actor)
    return workspace


def _free_slug() -> str:
    """The name of one that was removed stays taken: its log is kept."""
    taken = set(Workspace.objects.filter(slug__startswith=SLUG).values_list("slug", flat=True))
    return next(slug for n in count(1) if (slug := SLUG if n == 1 else f"{SLUG}-{n}") not in taken)

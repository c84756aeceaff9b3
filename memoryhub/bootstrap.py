"""What a hub needs before its first request: a workspace, an administrator, an agent with a key; a demonstration."""

from dataclasses import dataclass

from django.db import connection, transaction

from audit.actors import Actor
from memoryhub.access.models import Role, Scope, User, Workspace
from memoryhub.access.people import user_create
from memoryhub.access.services import agent_get_or_create, key_create, workspace_create
from memoryhub.demo.workspace import demo_workspace_create

DEFAULT_WORKSPACE = "default"
FIRST_AGENT = "assistant"
FIRST_ADMINISTRATOR = "admin"
# Any number: it only has to be this lock's alone.
BOOTSTRAP_LOCK = 0x6D68_0001


@dataclass(frozen=True)
class FirstCredentials:
    """What was made at the first start. Shown once: neither can be read again."""

    username: str
    password: str
    api_key: str


def bootstrap(*, demo: bool = True) -> FirstCredentials | None:
    """Set up an empty hub; on one that has a workspace already nothing happens and None is returned."""
    actor = Actor.command("bootstrap")
    with transaction.atomic():
        with connection.cursor() as cursor:
            # Two hubs that start on one empty database at the same time set it up once.
            cursor.execute("select pg_advisory_xact_lock(%s)", [BOOTSTRAP_LOCK])
        if Workspace.objects.exists():
            return None
        workspace = workspace_create(slug=DEFAULT_WORKSPACE, name="Default", actor=actor)
        username = FIRST_ADMINISTRATOR
        user, password = user_create(username=username, actor=actor, workspace=workspace, role=Role.ADMIN)
        User.objects.filter(username=username).update(is_superuser=True, is_staff=True)
        agent = agent_get_or_create(workspace_id=workspace.id, name=FIRST_AGENT, actor=actor)
        key = key_create(agent=agent, actor=actor, scopes=list(Scope))
        if demo:
            demo_workspace_create(user=user, actor=actor)
    return FirstCredentials(username, password, key.secret)

"""What every other test relies on: whose rights it has, and that nothing leaks from one to the next."""

import threading
from urllib.request import urlopen

import pytest
from django.db import ProgrammingError, connection, connections, transaction

from audit.actors import Actor
from memoryhub.access.models import User, Workspace
from memoryhub.access.services import workspace_create
from tests.conftest import LiveHub


def _facts_about_me() -> tuple[str, bool, bool, int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "select current_user, rolsuper, rolbypassrls, "
            "(select count(*) from pg_class where relowner = pg_roles.oid) from pg_roles where rolname = current_user"
        )
        return cursor.fetchone()


@pytest.mark.django_db
def test_tests_have_the_rights_of_the_runtime_role_and_no_more() -> None:
    assert _facts_about_me() == ("memoryhub", False, False, 0)
    with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
        connection.cursor().execute("truncate access_workspace")


@pytest.mark.parametrize("turn", [1, 2])
def test_what_a_test_writes_is_gone_for_the_next(turn: int, admin: User) -> None:
    assert list(User.objects.values_list("username", flat=True)) == ["ada"]


@pytest.mark.parametrize("turn", [1, 2])
def test_a_database_of_its_own_takes_commits_and_starts_empty(turn: int, hub_db: str, actor: Actor) -> None:
    workspace_create(slug="acme", name="Acme", actor=actor)
    seen: list[int] = []

    def in_another_connection() -> None:
        seen.append(Workspace.objects.count())
        connections.close_all()

    thread = threading.Thread(target=in_another_connection)
    thread.start()
    thread.join()
    assert seen == [1]
    assert Workspace.objects.using("owner").count() == 1
    assert _facts_about_me()[0] == "memoryhub"


def test_the_live_hub_answers_over_http(live_hub: LiveHub, workspace: Workspace) -> None:
    with urlopen(f"{live_hub.url}/healthz") as answer:  # noqa: S310 - our own server
        assert answer.status == 200

"""Row-level security holds without anybody's help: what a query forgets, the database does not."""

from uuid import uuid4

import pytest
from django.apps import apps
from django.db import ProgrammingError, connection, connections, models, transaction
from memory_samples import fill_workspace

from audit.actors import Actor
from memoryhub.access.models import Workspace
from memoryhub.core.tenancy import current_workspace_id, in_workspace
from sessions.models import Subject

TENANT_MODELS = [
    model
    for model in apps.get_models()
    if any(field.attname == "workspace_id" for field in model._meta.concrete_fields)
]


@pytest.fixture
def two_workspaces(workspace: Workspace, other_workspace: Workspace, actor: Actor) -> tuple[Workspace, Workspace]:
    """Each with a row in every tenant table."""
    for one in (workspace, other_workspace):
        fill_workspace(one, actor)
    return workspace, other_workspace


def names(model: type[models.Model]) -> str:
    return model._meta.label


@pytest.mark.django_db
@pytest.mark.parametrize("model", TENANT_MODELS, ids=names)
def test_every_tenant_table_is_under_a_policy(model: type[models.Model]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "select relrowsecurity, (select count(*) from pg_policies p where p.tablename = c.relname) "
            "from pg_class c where relname = %s",
            [model._meta.db_table],
        )
        secured, policies = cursor.fetchone()
    assert secured
    assert policies >= 1


@pytest.mark.django_db
def test_no_table_with_a_workspace_is_unknown_to_the_models() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "select table_name from information_schema.columns "
            "where table_schema = 'public' and column_name = 'workspace_id'"
        )
        tables = {row[0] for row in cursor.fetchall()}
    assert tables == {model._meta.db_table for model in TENANT_MODELS}


@pytest.mark.django_db
def test_the_runtime_role_owns_nothing_and_cannot_bypass() -> None:
    with connection.cursor() as cursor:
        cursor.execute("select rolsuper, rolbypassrls from pg_roles where rolname = current_user")
        assert cursor.fetchone() == (False, False)
        cursor.execute("select count(*) from pg_class where relowner = current_user::regrole")
        assert cursor.fetchone() == (0,)


def test_a_forgotten_filter_returns_no_foreign_row(hub_db: str, two_workspaces: tuple[Workspace, Workspace]) -> None:
    here, there = two_workspaces
    for model in TENANT_MODELS:
        everywhere = model._base_manager.using("owner")
        assert everywhere.filter(workspace_id=there.id).exists(), f"{model._meta.label} has no row to find"
        with in_workspace(here.id):
            found = set(model._base_manager.values_list("workspace_id", flat=True))
        assert found == {here.id}, model._meta.label


def test_with_the_policy_off_the_same_query_finds_foreign_rows(
    hub_db: str, two_workspaces: tuple[Workspace, Workspace]
) -> None:
    """So the test above can fail: it is the policy that keeps the rows apart, not the data."""
    here, there = two_workspaces
    with connections["owner"].cursor() as cursor:
        cursor.execute("alter table memory_sessions_turn disable row level security")
    with in_workspace(here.id):
        model = apps.get_model("memory_sessions", "Turn")
        assert there.id in set(model._base_manager.values_list("workspace_id", flat=True))


def test_without_a_workspace_there_are_no_rows(hub_db: str, two_workspaces: tuple[Workspace, Workspace]) -> None:
    for model in TENANT_MODELS:
        assert not model._base_manager.exists(), model._meta.label


def test_foreign_rows_are_neither_changed_nor_deleted(hub_db: str, two_workspaces: tuple[Workspace, Workspace]) -> None:
    here, there = two_workspaces
    foreign = Subject.objects.using("owner").get(workspace_id=there.id)
    with in_workspace(here.id):
        assert Subject.objects.filter(pk=foreign.pk).update(external_id="taken") == 0
        assert Subject.objects.filter(pk=foreign.pk)._raw_delete("default") == 0
    assert Subject.objects.using("owner").get(pk=foreign.pk).external_id == foreign.external_id


def test_a_row_cannot_be_written_for_another_workspace(
    hub_db: str, two_workspaces: tuple[Workspace, Workspace]
) -> None:
    here, there = two_workspaces
    with pytest.raises(ProgrammingError, match="row-level security"), in_workspace(here.id):
        Subject.objects.create(workspace_id=there.id, external_id=str(uuid4()))


@pytest.mark.django_db
def test_nested_workspaces_restore_the_outer_one(workspace: Workspace, other_workspace: Workspace) -> None:
    with transaction.atomic(), in_workspace(workspace.id):
        with in_workspace(other_workspace.id):
            assert current_workspace_id() == other_workspace.id
        assert current_workspace_id() == workspace.id

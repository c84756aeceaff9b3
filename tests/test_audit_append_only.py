"""Nobody changes or removes entries: not the runtime role, not the owner, not by truncating."""

import psycopg
import pytest
from django.db import DatabaseError, connections, transaction

from audit.actors import Actor
from audit.models import Commitment, Entry
from audit.services import record
from memoryhub.core.ids import uuid7
from memoryhub.core.tenancy import in_workspace

CHANGES = (
    "update audit_entry set outcome = 'failed'",
    "update audit_entry set outcome = 'failed' where false",
    "delete from audit_entry",
    "truncate audit_entry",
    "truncate audit_entry cascade",
    "merge into audit_entry using (select 1) as one on true when matched then delete",
    "insert into audit_entry select * from audit_entry on conflict (id) do update set outcome = 'failed'",
)


@pytest.mark.parametrize("statement", CHANGES)
@pytest.mark.parametrize("role", ["default", "owner"])
@pytest.mark.django_db(databases=["default", "owner"])
def test_entries_cannot_be_changed(role, statement):
    with (
        pytest.raises(DatabaseError, match="append-only|permission denied"),
        transaction.atomic(using=role),
        connections[role].cursor() as cursor,
    ):
        cursor.execute(statement)


@pytest.mark.django_db(databases=["default", "owner"])
def test_the_trigger_alone_stops_the_owner():
    """The owner has every right on its table; it is the trigger that refuses."""
    with (
        pytest.raises(DatabaseError, match="append-only: DELETE refused"),
        transaction.atomic(using="owner"),
        connections["owner"].cursor() as cursor,
    ):
        cursor.execute("delete from audit_entry")


@pytest.mark.parametrize("mode", ["origin", "replica", "local"])
def test_not_even_a_superuser_gets_past_the_trigger_without_switching_it_off(hub_db, database_server, mode):
    with psycopg.connect(database_server.dsn("postgres", hub_db)) as superuser:
        superuser.execute(f"set session_replication_role = {mode}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
            superuser.execute("delete from audit_entry")


def test_pruning_as_documented_works_for_the_owner_and_leaves_the_trigger_on(hub_db, database_server):
    workspace_id = uuid7()
    with in_workspace(workspace_id):
        old, kept = (record(Actor.command("test"), "demo.loaded") for _ in range(2))
    with psycopg.connect(database_server.dsn("memoryhub_owner", hub_db)) as owner:
        owner.execute("alter table audit_entry disable trigger audit_entry_append_only")
        owner.execute("delete from audit_entry where workspace_id = %s and id < %s", [workspace_id, kept.id])
        owner.execute("alter table audit_entry enable always trigger audit_entry_append_only")
    with in_workspace(workspace_id):
        assert list(Entry.objects.all()) == [kept]
    with psycopg.connect(database_server.dsn("memoryhub_owner", hub_db)) as owner, pytest.raises(psycopg.Error):
        owner.execute("delete from audit_entry")
    assert old.id < kept.id


@pytest.mark.django_db
def test_saving_or_deleting_a_written_entry_through_the_model_fails():
    with in_workspace(uuid7()):
        entry = record(Actor.command("test"), "demo.loaded")
        entry.outcome = "failed"
        with pytest.raises(DatabaseError), transaction.atomic():
            entry.save()
        with pytest.raises(DatabaseError), transaction.atomic():
            entry.delete()
        assert Entry.objects.get().outcome == "ok"


@pytest.mark.django_db(databases=["default", "owner"])
def test_the_runtime_role_has_exactly_the_rights_it_needs():
    with connections["default"].cursor() as cursor:
        cursor.execute("select current_user")
        (runtime,) = cursor.fetchone()
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "select table_name, privilege_type from information_schema.role_table_grants "
            "where grantee = %s and table_name in ('audit_entry', 'audit_commitment')",
            [runtime],
        )
        granted = set(cursor.fetchall())
    assert granted == {
        ("audit_entry", "SELECT"),
        ("audit_entry", "INSERT"),
        ("audit_commitment", "SELECT"),
        ("audit_commitment", "INSERT"),
        ("audit_commitment", "DELETE"),
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"outcome": "fine"},
        {"actor_kind": "robot"},
        {"action": "Something else"},
        {"reason": "because he said so"},
        {"leaf": b"short"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
@pytest.mark.django_db
def test_the_database_refuses_a_malformed_entry_whoever_writes_it(wrong):
    workspace_id = uuid7()
    with in_workspace(workspace_id):
        sound = record(Actor.command("test"), "demo.loaded")
        fields = {field.attname: getattr(sound, field.attname) for field in Entry._meta.fields}
        with pytest.raises(DatabaseError, match="violates check constraint"), transaction.atomic():
            Entry(**fields | {"id": uuid7()} | wrong).save(force_insert=True)


@pytest.mark.django_db
def test_a_salt_is_256_bits():
    workspace_id = uuid7()
    with in_workspace(workspace_id), pytest.raises(DatabaseError, match="audit_salt"), transaction.atomic():
        Commitment.objects.create(workspace_id=workspace_id, entry_id=uuid7(), label="block", salt=b"")

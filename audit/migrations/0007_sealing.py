import django.utils.timezone
from django.db import migrations, models

from memoryhub.core.tenancy import tenant_policy

# Every entry, however it is written, waits to be sealed from the moment it is there.
QUEUE = """
create function audit_queue_entries() returns trigger language plpgsql as $$
begin
    insert into audit_pending (entry_id, workspace_id, leaf, mark, at_once)
    select e.id, e.workspace_id, e.leaf,
        substring(sha256('\\x02'::bytea || e.leaf || coalesce(uuid_send(e.subject_id), decode(repeat('00', 16), 'hex')))
            for 16),
        e.action ~ '^(erasure|hold|key|member|invitation)[.]' or e.action ~ '[.](erased|exported|export_began)$'
    from written e;
    return null;
end $$;
create trigger audit_entry_queued after insert on audit_entry
    referencing new table as written for each statement execute function audit_queue_entries();
insert into audit_pending (entry_id, workspace_id, leaf, mark, at_once)
select e.id, e.workspace_id, e.leaf,
    substring(sha256('\\x02'::bytea || e.leaf || coalesce(uuid_send(e.subject_id), decode(repeat('00', 16), 'hex')))
        for 16),
    false
from audit_entry e;
create function audit_unsealed(idle timestamptz) returns setof uuid
language sql stable security definer set search_path = pg_catalog, public as $$
    select distinct workspace_id from public.audit_pending
    union
    select workspace_id from public.audit_checkpoint where idle is not null group by 1 having max(at) <= idle
$$;
revoke all on function audit_unsealed(timestamptz) from public;
"""
NO_QUEUE = """
drop function audit_unsealed(timestamptz);
drop trigger audit_entry_queued on audit_entry;
drop function audit_queue_entries();
"""
APPEND_ONLY = """
create trigger audit_sealed_append_only before update or delete or truncate on audit_sealed
    for each statement execute function audit_entry_is_append_only();
alter table audit_sealed enable always trigger audit_sealed_append_only;
create trigger audit_checkpoint_append_only before update or delete or truncate on audit_checkpoint
    for each statement execute function audit_entry_is_append_only();
alter table audit_checkpoint enable always trigger audit_checkpoint_append_only;
create trigger audit_signingkey_append_only before update or delete or truncate on audit_signingkey
    for each statement execute function audit_entry_is_append_only();
alter table audit_signingkey enable always trigger audit_signingkey_append_only;
"""
APPENDABLE = """
drop trigger audit_signingkey_append_only on audit_signingkey;
drop trigger audit_checkpoint_append_only on audit_checkpoint;
drop trigger audit_sealed_append_only on audit_sealed;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0006_retention"),
    ]

    operations = [
        migrations.CreateModel(
            name="SigningKey",
            fields=[
                ("id", models.CharField(max_length=16, primary_key=True, serialize=False)),
                ("public", models.BinaryField(max_length=32)),
                (
                    "purpose",
                    models.CharField(choices=[("checkpoints", "checkpoints"), ("receipts", "receipts")], max_length=12),
                ),
                ("since", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                "db_table": "audit_signingkey",
            },
        ),
        migrations.CreateModel(
            name="Checkpoint",
            fields=[
                ("signature", models.BinaryField(max_length=64, primary_key=True, serialize=False)),
                ("workspace_id", models.UUIDField()),
                ("number", models.BigIntegerField(help_text="From 1, without gaps.")),
                ("size", models.BigIntegerField()),
                ("root", models.BinaryField(max_length=32)),
                ("previous", models.BinaryField(max_length=32)),
                ("marks", models.BinaryField(max_length=32)),
                ("sum", models.BinaryField(max_length=32)),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
                ("key", models.CharField(max_length=16)),
                (
                    "peaks",
                    models.BinaryField(
                        help_text="The complete subtrees: where the next one goes on. Not signed: they give root."
                    ),
                ),
            ],
            options={
                "db_table": "audit_checkpoint",
                "constraints": [
                    models.UniqueConstraint(fields=("workspace_id", "number"), name="audit_checkpoint_number_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="Pending",
            fields=[
                ("entry_id", models.UUIDField(primary_key=True, serialize=False)),
                ("workspace_id", models.UUIDField()),
                ("leaf", models.BinaryField(max_length=32)),
                ("mark", models.BinaryField(max_length=16)),
                ("at_once", models.BooleanField(help_text="Of what is sealed without waiting for more.")),
            ],
            options={
                "verbose_name_plural": "pending",
                "db_table": "audit_pending",
                "indexes": [models.Index(fields=["workspace_id", "entry_id"], name="audit_pending_of_workspace")],
            },
        ),
        migrations.CreateModel(
            name="Sealed",
            fields=[
                ("entry_id", models.UUIDField(primary_key=True, serialize=False)),
                ("workspace_id", models.UUIDField()),
                ("position", models.BigIntegerField(help_text="From 0, without gaps.")),
                ("leaf", models.BinaryField(max_length=32)),
                (
                    "mark",
                    models.BinaryField(help_text="Tells who knows the subject's id whom it is about.", max_length=16),
                ),
            ],
            options={
                "verbose_name_plural": "sealed",
                "db_table": "audit_sealed",
                "indexes": [models.Index(fields=["workspace_id", "leaf"], name="audit_sealed_by_leaf")],
                "constraints": [
                    models.UniqueConstraint(fields=("workspace_id", "position"), name="audit_position_once")
                ],
            },
        ),
        tenant_policy("audit_pending"),
        tenant_policy("audit_sealed"),
        tenant_policy("audit_checkpoint"),
        migrations.RunSQL(QUEUE, NO_QUEUE),
        migrations.RunSQL(APPEND_ONLY, APPENDABLE),
    ]

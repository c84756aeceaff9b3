from django.db import migrations, models

import memoryhub.core.ids
from memoryhub.core.tenancy import tenant_policy

# Refuses everybody, the owner included; ALWAYS, so that a session in replica mode is refused as well. Whoever may
# disable a trigger can still do harm: docs/audit.md says what that takes and how pruning does it in the open.
APPEND_ONLY = """
create function audit_entry_is_append_only() returns trigger language plpgsql as $$
begin
    raise exception 'audit entries are append-only: % refused', tg_op using errcode = 'insufficient_privilege';
end $$;
create trigger audit_entry_append_only before update or delete or truncate on audit_entry
    for each statement execute function audit_entry_is_append_only();
alter table audit_entry enable always trigger audit_entry_append_only;
alter table audit_entry add constraint audit_leaf_is_sha256 check (octet_length(leaf) = 32);
alter table audit_commitment add constraint audit_salt_is_256_bits check (octet_length(salt) = 32);
"""
APPENDABLE = """
alter table audit_commitment drop constraint audit_salt_is_256_bits;
alter table audit_entry drop constraint audit_leaf_is_sha256;
drop trigger audit_entry_append_only on audit_entry;
drop function audit_entry_is_append_only();
"""


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Commitment",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=memoryhub.core.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("workspace_id", models.UUIDField()),
                ("entry_id", models.UUIDField()),
                ("subject_id", models.UUIDField(blank=True, null=True)),
                ("label", models.CharField(max_length=32)),
                ("salt", models.BinaryField(max_length=32)),
            ],
            options={
                "indexes": [models.Index(fields=["workspace_id", "subject_id"], name="audit_commitment_of_subject")],
                "constraints": [models.UniqueConstraint(fields=("entry_id", "label"), name="audit_commitment_once")],
            },
        ),
        migrations.CreateModel(
            name="Entry",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        editable=False,
                        help_text="Version 7, made from `at`: both sort alike.",
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("workspace_id", models.UUIDField()),
                ("at", models.DateTimeField()),
                (
                    "actor_kind",
                    models.CharField(
                        choices=[("agent", "agent"), ("user", "user"), ("system", "system"), ("command", "command")],
                        max_length=10,
                    ),
                ),
                ("actor_id", models.CharField(max_length=64)),
                (
                    "credential",
                    models.CharField(blank=True, default="", help_text="The prefix of the key used.", max_length=64),
                ),
                ("action", models.CharField(max_length=64)),
                ("object_kind", models.CharField(blank=True, default="", max_length=32)),
                ("object_id", models.CharField(blank=True, default="", max_length=64)),
                ("subject_id", models.UUIDField(blank=True, null=True)),
                ("session_id", models.UUIDField(blank=True, null=True)),
                ("request_id", models.CharField(blank=True, default="", max_length=64)),
                (
                    "outcome",
                    models.CharField(
                        choices=[("ok", "ok"), ("denied", "denied"), ("failed", "failed"), ("degraded", "degraded")],
                        max_length=10,
                    ),
                ),
                ("reason", models.CharField(blank=True, default="", help_text="A code.", max_length=64)),
                ("data", models.JSONField(default=dict)),
                ("schema", models.PositiveSmallIntegerField(default=1)),
                ("leaf", models.BinaryField(max_length=32)),
            ],
            options={
                "verbose_name_plural": "entries",
                "indexes": [
                    models.Index(fields=["workspace_id", "-id"], name="audit_newest"),
                    models.Index(fields=["workspace_id", "actor_id", "-id"], name="audit_by_actor"),
                    models.Index(fields=["workspace_id", "action", "-id"], name="audit_by_action"),
                    models.Index(
                        condition=models.Q(("subject_id__isnull", False)),
                        fields=["workspace_id", "subject_id", "-id"],
                        name="audit_by_subject",
                    ),
                    models.Index(
                        condition=models.Q(("session_id__isnull", False)),
                        fields=["workspace_id", "session_id", "-id"],
                        name="audit_by_session",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("actor_kind__in", ["agent", "user", "system", "command"])),
                        name="audit_actor_kind_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("outcome__in", ["ok", "denied", "failed", "degraded"])),
                        name="audit_outcome_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("action__regex", "^[a-z]+\\.[a-z_]+$")), name="audit_action_named"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("reason", ""), ("reason__regex", "^[a-z][a-z0-9_.:-]*$"), _connector="OR"),
                        name="audit_reason_is_a_code",
                    ),
                ],
            },
        ),
        tenant_policy("audit_entry"),
        tenant_policy("audit_commitment"),
        migrations.RunSQL(APPEND_ONLY, APPENDABLE),
    ]

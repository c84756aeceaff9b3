import django.utils.timezone
from django.db import migrations, models

import memoryhub.core.ids
from memoryhub.core.tenancy import tenant_policy

APPEND_ONLY = """
create trigger audit_verdict_append_only before update or delete or truncate on audit_verdict
    for each statement execute function audit_entry_is_append_only();
alter table audit_verdict enable always trigger audit_verdict_append_only;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0007_sealing"),
    ]

    operations = [
        migrations.CreateModel(
            name="Handover",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=memoryhub.core.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("workspace_id", models.UUIDField()),
                ("place", models.CharField(choices=[("folder", "folder"), ("command", "command")], max_length=10)),
                ("number", models.BigIntegerField(default=0, help_text="The last checkpoint that was taken.")),
                ("at", models.DateTimeField(help_text="When it was.", null=True)),
                ("failures", models.IntegerField(default=0, help_text="In a row since.")),
                ("failed_at", models.DateTimeField(null=True)),
                (
                    "error",
                    models.CharField(blank=True, help_text="A code, never what the command printed.", max_length=64),
                ),
            ],
            options={
                "db_table": "audit_handover",
                "constraints": [models.UniqueConstraint(fields=("workspace_id", "place"), name="audit_handover_once")],
            },
        ),
        migrations.CreateModel(
            name="Verdict",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=memoryhub.core.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("workspace_id", models.UUIDField()),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "actor_kind",
                    models.CharField(
                        choices=[("agent", "agent"), ("user", "user"), ("system", "system"), ("command", "command")],
                        max_length=10,
                    ),
                ),
                ("actor_id", models.CharField(max_length=64)),
                ("verdict", models.CharField(max_length=20)),
                ("entries", models.BigIntegerField()),
                ("size", models.BigIntegerField()),
                ("checkpoints", models.BigIntegerField()),
                ("root", models.CharField(blank=True, max_length=64)),
                ("found", models.BigIntegerField()),
                (
                    "findings",
                    models.JSONField(default=list, help_text="The first of what is wrong: verdict and place."),
                ),
                ("elapsed_ms", models.BigIntegerField()),
            ],
            options={
                "db_table": "audit_verdict",
                "indexes": [models.Index(fields=["workspace_id", "-id"], name="audit_verdict_latest")],
            },
        ),
        migrations.CreateModel(
            name="Verification",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=memoryhub.core.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("workspace_id", models.UUIDField()),
                (
                    "actor_kind",
                    models.CharField(
                        choices=[("agent", "agent"), ("user", "user"), ("system", "system"), ("command", "command")],
                        max_length=10,
                    ),
                ),
                ("actor_id", models.CharField(max_length=64)),
                ("asked_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("began_at", models.DateTimeField(null=True)),
                ("attempts", models.IntegerField(default=0)),
                ("total", models.BigIntegerField(default=0)),
                ("done", models.BigIntegerField(default=0)),
                (
                    "ended_at",
                    models.DateTimeField(help_text="Without a verdict of the same id: it was given up.", null=True),
                ),
            ],
            options={
                "db_table": "audit_verification",
                "indexes": [models.Index(fields=["workspace_id", "-id"], name="audit_verification_latest")],
            },
        ),
        tenant_policy("audit_verification"),
        tenant_policy("audit_verdict"),
        tenant_policy("audit_handover"),
        migrations.RunSQL(APPEND_ONLY, "drop trigger audit_verdict_append_only on audit_verdict"),
    ]

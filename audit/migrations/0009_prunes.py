import django.utils.timezone
from django.db import migrations, models

import memoryhub.core.ids
from memoryhub.core.tenancy import tenant_policy

APPEND_ONLY = """
create trigger audit_prune_append_only before update or delete or truncate on audit_prune
    for each statement execute function audit_entry_is_append_only();
alter table audit_prune enable always trigger audit_prune_append_only;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0008_verdicts"),
    ]

    operations = [
        migrations.CreateModel(
            name="Prune",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=memoryhub.core.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("workspace_id", models.UUIDField()),
                ("number", models.BigIntegerField(help_text="The checkpoint up to which.")),
                ("size", models.BigIntegerField(help_text="How many entries it covers, from the first on.")),
                ("checkpoint", models.BinaryField(max_length=32)),
                ("entries", models.BigIntegerField(help_text="How many were removed with this record.")),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
                ("key", models.CharField(max_length=16)),
                ("signature", models.BinaryField(max_length=64)),
            ],
            options={
                "db_table": "audit_prune",
                "constraints": [
                    models.UniqueConstraint(fields=("workspace_id", "size"), name="audit_prune_once"),
                ],
            },
        ),
        tenant_policy("audit_prune"),
        migrations.RunSQL(APPEND_ONLY, "drop trigger audit_prune_append_only on audit_prune"),
    ]

import django.utils.timezone
from django.db import migrations, models

import memoryhub.core.ids
from memoryhub.core.tenancy import tenant_policy


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0005_requests"),
    ]

    operations = [
        migrations.CreateModel(
            name="RetentionSweep",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=memoryhub.core.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("workspace_id", models.UUIDField()),
                ("kind", models.CharField(max_length=20)),
                ("before", models.DateTimeField(help_text="What is older than this was removed.")),
                ("items", models.PositiveIntegerField(default=0, help_text="Things of the kind that were removed.")),
                (
                    "rows",
                    models.PositiveIntegerField(
                        default=0, help_text="Rows removed or changed, with what hangs on them."
                    ),
                ),
                ("held", models.PositiveIntegerField(default=0, help_text="Things that a legal hold kept.")),
                ("started_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "indexes": [models.Index(fields=["workspace_id", "kind", "-id"], name="retention_newest")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("ended_at__isnull", True)),
                        fields=("workspace_id", "kind"),
                        name="retention_one_of_a_kind",
                    )
                ],
            },
        ),
        tenant_policy("audit_retentionsweep"),
    ]

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import memoryhub.core.ids
from memoryhub.core.tenancy import subject_policy, tenant_policy


class Migration(migrations.Migration):
    dependencies = [
        ("access", "0005_people"),
        ("facts", "0010_lists_of_the_console"),
    ]

    operations = [
        migrations.CreateModel(
            name="RemovedEvidence",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=memoryhub.core.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("kind", models.CharField(choices=[("states", "states"), ("confirms", "confirms")], max_length=8)),
                ("said_at", models.DateTimeField(help_text="When it was said.")),
                (
                    "digest",
                    models.BinaryField(help_text="Of the turn's digest, by the key of erasures.", max_length=32),
                ),
                ("removed_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="removed_evidence",
                        to="facts.factversion",
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="access.workspace"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("version", "digest"), name="removed_evidence_once"),
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ["states", "confirms"])), name="removed_evidence_kind_known"
                    ),
                ],
            },
        ),
        tenant_policy("facts_removedevidence"),
        subject_policy("facts_removedevidence", column="version_id", through="facts_factversion"),
    ]

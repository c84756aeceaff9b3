import django.db.models.deletion
from django.db import migrations, models

import memoryhub.core.ids
from memoryhub.core.tenancy import subject_policy, tenant_policy


class Migration(migrations.Migration):
    dependencies = [
        ("access", "0003_keys_and_limits"),
        ("facts", "0004_one_person"),
        ("memory_sessions", "0005_turn_results"),
    ]

    operations = [
        migrations.CreateModel(
            name="FactTally",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=memoryhub.core.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("day", models.DateField()),
                ("versions", models.PositiveIntegerField()),
            ],
        ),
        migrations.RemoveConstraint(
            model_name="recall",
            name="recall_kind_known",
        ),
        migrations.AddField(
            model_name="facttransition",
            name="written_with",
            field=models.CharField(blank=True, default="", help_text="The credential's public prefix.", max_length=64),
        ),
        migrations.AlterField(
            model_name="recall",
            name="kind",
            field=models.CharField(
                choices=[
                    ("working_memory", "working memory"),
                    ("search", "search"),
                    ("facts", "facts"),
                    ("preview", "preview"),
                    ("review", "review"),
                ],
                max_length=16,
            ),
        ),
        migrations.AddIndex(
            model_name="factversion",
            index=models.Index(
                condition=models.Q(("status", "quarantined")), fields=["workspace", "-id"], name="fact_version_waiting"
            ),
        ),
        migrations.AddIndex(
            model_name="factversion",
            index=models.Index(
                condition=models.Q(("written_with", ""), _negated=True),
                fields=["workspace", "written_with"],
                name="fact_version_written_with",
            ),
        ),
        migrations.AddIndex(
            model_name="factversion",
            index=models.Index(
                condition=models.Q(("session__isnull", False)), fields=["session"], name="fact_version_of_session"
            ),
        ),
        migrations.AddConstraint(
            model_name="recall",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ["working_memory", "search", "facts", "preview", "review"])),
                name="recall_kind_known",
            ),
        ),
        migrations.AddField(
            model_name="facttally",
            name="agent",
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="+", to="access.agent"),
        ),
        migrations.AddField(
            model_name="facttally",
            name="subject",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="+", to="memory_sessions.subject"
            ),
        ),
        migrations.AddField(
            model_name="facttally",
            name="workspace",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="+", to="access.workspace"
            ),
        ),
        migrations.AddConstraint(
            model_name="facttally",
            constraint=models.UniqueConstraint(fields=("subject", "agent", "day"), name="fact_tally_once"),
        ),
        tenant_policy("facts_facttally"),
        subject_policy("facts_facttally"),
    ]

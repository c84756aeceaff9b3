import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import memoryhub.core.ids
from memoryhub.core.tenancy import subject_policy, tenant_policy


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0002_one_person"),
    ]

    operations = [
        migrations.CreateModel(
            name="Erasure",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=memoryhub.core.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("workspace_id", models.UUIDField()),
                ("subject_id", models.UUIDField(help_text="The pseudonym that stays in the audit log.")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("subject", "everything about a person"),
                            ("session", "one session"),
                            ("period", "a period of time"),
                            ("fact", "one fact"),
                        ],
                        max_length=8,
                    ),
                ),
                ("target", models.UUIDField(blank=True, help_text="The session or the fact.", null=True)),
                ("since", models.DateTimeField(blank=True, null=True)),
                ("until", models.DateTimeField(blank=True, null=True)),
                (
                    "statement",
                    models.CharField(blank=True, default="", help_text="Of a fact: span or turn.", max_length=4),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("queued", "queued"),
                            ("running", "running"),
                            ("verifying", "being verified"),
                            ("completed", "completed"),
                            ("partial", "partial: something is left"),
                        ],
                        default="queued",
                        max_length=9,
                    ),
                ),
                ("reason", models.CharField(help_text="A code.", max_length=40)),
                (
                    "request_id",
                    models.UUIDField(blank=True, help_text="The person's request that asked for it.", null=True),
                ),
                ("actor_kind", models.CharField(max_length=10)),
                ("actor_id", models.CharField(max_length=64)),
                (
                    "planned",
                    models.JSONField(default=dict, help_text="What was found when it began: rows by store and kind."),
                ),
                (
                    "erased",
                    models.JSONField(default=dict, help_text="What went, over all attempts: rows by store and kind."),
                ),
                ("failed", models.JSONField(default=dict, help_text="Stores whose last attempt failed, with a code.")),
                ("recipients", models.JSONField(default=list, help_text="Who was given something of it, outside.")),
                (
                    "residue",
                    models.JSONField(default=list, help_text="What the verification found left: places and ids."),
                ),
                ("verification", models.JSONField(default=dict, help_text="What was looked at, and how.")),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("leased_until", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "sealed_at",
                    models.DateTimeField(blank=True, help_text="From here on nothing of it is served.", null=True),
                ),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
            ],
        ),
        migrations.CreateModel(
            name="Tombstone",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=memoryhub.core.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("workspace_id", models.UUIDField()),
                ("erasure_id", models.UUIDField()),
                ("digest", models.BinaryField(max_length=32)),
                ("key_id", models.CharField(help_text="Which key the digest was made with.", max_length=16)),
                (
                    "since",
                    models.DateTimeField(blank=True, help_text="What is dated from then on; empty: ever.", null=True),
                ),
                ("until", models.DateTimeField(blank=True, help_text="What is dated before; empty: ever.", null=True)),
            ],
        ),
        migrations.CreateModel(
            name="ErasureTrace",
            fields=[
                (
                    "erasure",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="trace",
                        serialize=False,
                        to="audit.erasure",
                    ),
                ),
                ("workspace_id", models.UUIDField()),
                ("part", models.JSONField(default=dict)),
                ("ids", models.BinaryField(help_text="UUIDs, 16 bytes each.")),
                ("texts", models.JSONField(default=list)),
            ],
        ),
        migrations.AddIndex(
            model_name="erasure",
            index=models.Index(fields=["workspace_id", "-id"], name="erasure_newest"),
        ),
        migrations.AddIndex(
            model_name="erasure",
            index=models.Index(fields=["workspace_id", "subject_id"], name="erasure_of_subject"),
        ),
        migrations.AddIndex(
            model_name="erasure",
            index=models.Index(
                condition=models.Q(("state__in", ("queued", "running", "verifying"))),
                fields=["workspace_id"],
                name="erasure_open",
            ),
        ),
        migrations.AddConstraint(
            model_name="erasure",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ["subject", "session", "period", "fact"])), name="erasure_kind_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="erasure",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["queued", "running", "verifying", "completed", "partial"])),
                name="erasure_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="tombstone",
            constraint=models.UniqueConstraint(fields=("workspace_id", "digest", "erasure_id"), name="tombstone_once"),
        ),
        tenant_policy("audit_erasure"),
        tenant_policy("audit_erasuretrace"),
        tenant_policy("audit_tombstone"),
        subject_policy("audit_erasure", write=False),
        subject_policy("audit_erasuretrace", column="erasure_id", through="audit_erasure", write=False),
    ]

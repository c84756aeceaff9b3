import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import memoryhub.core.ids
from memoryhub.core.tenancy import tenant_policy


class Migration(migrations.Migration):
    dependencies = [
        ("access", "0004_token_scope"),
    ]

    operations = [
        migrations.CreateModel(
            name="CacheEntry",
            fields=[
                ("cache_key", models.CharField(max_length=255, primary_key=True, serialize=False)),
                ("value", models.TextField()),
                ("expires", models.DateTimeField(db_index=True)),
            ],
            options={
                "db_table": "access_cache",
            },
        ),
        migrations.CreateModel(
            name="Invitation",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=memoryhub.core.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "role",
                    models.CharField(
                        choices=[
                            ("viewer", "viewer"),
                            ("operator", "operator"),
                            ("privacy_officer", "privacy officer"),
                            ("auditor", "auditor"),
                            ("admin", "admin"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "email",
                    models.EmailField(
                        blank=True, default="", help_text="Whom it was meant for, if that is known.", max_length=254
                    ),
                ),
                ("digest", models.BinaryField(max_length=32)),
                ("invited_by", models.CharField(help_text="The actor, as in the audit log.", max_length=64)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("expires_at", models.DateTimeField()),
                ("accepted_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                (
                    "workspace",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="invitations", to="access.workspace"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("digest",), name="invitation_digest_once"),
                    models.CheckConstraint(
                        condition=models.Q(("role__in", ["viewer", "operator", "privacy_officer", "auditor", "admin"])),
                        name="invitation_role_known",
                    ),
                ],
            },
        ),
        tenant_policy("access_invitation"),
        migrations.RunSQL("alter table access_cache set unlogged", "alter table access_cache set logged"),
    ]

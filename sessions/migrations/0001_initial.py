import uuid

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import memoryhub.core.ids
from memoryhub.core.tenancy import tenant_policy


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("access", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Subject",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                (
                    "external_id",
                    models.CharField(help_text="The caller's id for the person: `user_id` in the API.", max_length=256),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("restricted_at", models.DateTimeField(blank=True, null=True)),
                ("recording_paused_at", models.DateTimeField(blank=True, null=True)),
                ("extraction_paused_at", models.DateTimeField(blank=True, null=True)),
                ("surfacing_paused_at", models.DateTimeField(blank=True, null=True)),
                (
                    "last_handle",
                    models.PositiveIntegerField(default=0, help_text="The last short handle given to a fact (F12)."),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="subjects", to="access.workspace"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Session",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=memoryhub.core.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("external_id", models.CharField(help_text="The caller's id for the conversation.", max_length=256)),
                ("metadata", models.JSONField(blank=True, default=dict)),
                ("started_at", models.DateTimeField()),
                ("last_turn_at", models.DateTimeField()),
                ("turn_count", models.PositiveIntegerField(default=0)),
                ("closed_at", models.DateTimeField(blank=True, null=True)),
                ("extract_due_at", models.DateTimeField(blank=True, null=True)),
                (
                    "agent",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="sessions", to="access.agent"
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="access.workspace"
                    ),
                ),
                (
                    "subject",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="sessions",
                        to="memory_sessions.subject",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Turn",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=memoryhub.core.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("index", models.PositiveIntegerField()),
                ("client_id", models.CharField(blank=True, max_length=256, null=True)),
                (
                    "role",
                    models.CharField(
                        choices=[("user", "user"), ("assistant", "assistant"), ("system", "system"), ("tool", "tool")],
                        max_length=10,
                    ),
                ),
                ("name", models.CharField(blank=True, default="", max_length=256)),
                ("content", models.JSONField(help_text="A string, or a list of Messages API content blocks, as sent.")),
                (
                    "text",
                    models.TextField(blank=True, default="", help_text="The readable text of the content, for search."),
                ),
                ("tool_name", models.CharField(blank=True, default="", max_length=256)),
                ("tool_input", models.JSONField(blank=True, null=True)),
                ("tool_result", models.JSONField(blank=True, null=True)),
                (
                    "orphan",
                    models.BooleanField(default=False, help_text="A tool result whose call is nowhere in the session."),
                ),
                ("metadata", models.JSONField(blank=True, default=dict)),
                ("occurred_at", models.DateTimeField()),
                ("recorded_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "digest",
                    models.BinaryField(
                        help_text="SHA-256 of what was sent: tells a retry from a conflict.", max_length=32
                    ),
                ),
                (
                    "session",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="turns", to="memory_sessions.session"
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="access.workspace"
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="subject",
            index=models.Index(fields=["workspace", "-created_at"], name="subject_newest"),
        ),
        migrations.AddConstraint(
            model_name="subject",
            constraint=models.UniqueConstraint(fields=("workspace", "external_id"), name="subject_external_id_once"),
        ),
        migrations.AddConstraint(
            model_name="subject",
            constraint=models.CheckConstraint(
                condition=models.Q(("external_id", ""), _negated=True), name="subject_external_id_given"
            ),
        ),
        migrations.AddIndex(
            model_name="session",
            index=models.Index(fields=["subject", "-last_turn_at"], name="session_latest_of_subject"),
        ),
        migrations.AddIndex(
            model_name="session",
            index=models.Index(
                condition=models.Q(("extract_due_at__isnull", False)),
                fields=["extract_due_at"],
                name="session_extraction_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="session",
            constraint=models.UniqueConstraint(fields=("workspace", "external_id"), name="session_external_id_once"),
        ),
        migrations.AddConstraint(
            model_name="session",
            constraint=models.CheckConstraint(
                condition=models.Q(("external_id", ""), _negated=True), name="session_external_id_given"
            ),
        ),
        migrations.AddConstraint(
            model_name="session",
            constraint=models.CheckConstraint(
                condition=models.Q(("last_turn_at__gte", models.F("started_at"))), name="session_ends_after_start"
            ),
        ),
        migrations.AddConstraint(
            model_name="turn",
            constraint=models.UniqueConstraint(fields=("session", "index"), name="turn_index_once"),
        ),
        migrations.AddConstraint(
            model_name="turn",
            constraint=models.UniqueConstraint(fields=("session", "client_id"), name="turn_client_id_once"),
        ),
        migrations.AddConstraint(
            model_name="turn",
            constraint=models.CheckConstraint(
                condition=models.Q(("role__in", ["user", "assistant", "system", "tool"])), name="turn_role_known"
            ),
        ),
        tenant_policy("memory_sessions_subject"),
        tenant_policy("memory_sessions_session"),
        tenant_policy("memory_sessions_turn"),
    ]

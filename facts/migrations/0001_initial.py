import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import memoryhub.core.ids
from memoryhub.core.tenancy import tenant_policy

IMMUTABLE = """
create function facts_version_is_written_once() returns trigger language plpgsql as $$
begin
  if (to_jsonb(new) - '{status,status_at,session_id}'::text[]) is distinct from
     (to_jsonb(old) - '{status,status_at,session_id}'::text[])
     or (new.session_id is distinct from old.session_id and new.session_id is not null) then
    raise exception 'a fact version is never changed: add a new one' using errcode = 'restrict_violation';
  end if;
  return new;
end $$;
create trigger facts_version_is_written_once before update on facts_factversion
  for each row execute function facts_version_is_written_once();
"""


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("access", "0001_initial"),
        ("memory_sessions", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Fact",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=memoryhub.core.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "type",
                    models.CharField(
                        choices=[
                            ("preference", "preference"),
                            ("decision", "decision"),
                            ("constraint", "constraint"),
                            ("goal", "goal"),
                            ("entity", "entity"),
                        ],
                        max_length=12,
                    ),
                ),
                ("entity", models.CharField(help_text="What it is about, as first written.", max_length=200)),
                (
                    "entity_key",
                    models.CharField(help_text="The entity, case folded, white space collapsed.", max_length=200),
                ),
                (
                    "attribute",
                    models.CharField(blank=True, default="", help_text="Normalised: lower snake case.", max_length=100),
                ),
                ("handle", models.PositiveIntegerField(help_text="Shown as F12; counted per subject.")),
                ("pinned", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "subject",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="facts", to="memory_sessions.subject"
                    ),
                ),
                (
                    "visible_to",
                    models.ForeignKey(
                        blank=True,
                        help_text="Empty: every agent.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="access.agent",
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
        migrations.CreateModel(
            name="FactVersion",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=memoryhub.core.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("number", models.PositiveIntegerField()),
                ("content", models.TextField()),
                ("value", models.DecimalField(blank=True, decimal_places=10, max_digits=30, null=True)),
                ("unit", models.CharField(blank=True, default="", max_length=40)),
                (
                    "mentions",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=200), blank=True, default=list, size=None
                    ),
                ),
                ("confidence", models.FloatField(default=1.0)),
                (
                    "source",
                    models.CharField(
                        choices=[
                            ("user", "said by the subject"),
                            ("agent", "written by an agent"),
                            ("operator", "entered by a person"),
                            ("tool", "from a tool's result"),
                            ("import", "imported"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "extracted_by",
                    models.CharField(blank=True, default="", help_text="Model and prompt version.", max_length=120),
                ),
                ("valid_from", models.DateTimeField()),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("current", "current"),
                            ("superseded", "superseded"),
                            ("stale", "stale"),
                            ("quarantined", "quarantined"),
                            ("rejected", "rejected"),
                        ],
                        default="current",
                        help_text="As of now.",
                        max_length=12,
                    ),
                ),
                (
                    "status_at",
                    models.DateTimeField(default=django.utils.timezone.now, help_text="Since when the status holds."),
                ),
                (
                    "agent",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="access.agent",
                    ),
                ),
                (
                    "fact",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="versions", to="facts.fact"
                    ),
                ),
                (
                    "session",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="learned",
                        to="memory_sessions.session",
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
        migrations.CreateModel(
            name="FactTransition",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=memoryhub.core.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "from_status",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("current", "current"),
                            ("superseded", "superseded"),
                            ("stale", "stale"),
                            ("quarantined", "quarantined"),
                            ("rejected", "rejected"),
                        ],
                        default="",
                        max_length=12,
                    ),
                ),
                (
                    "to_status",
                    models.CharField(
                        choices=[
                            ("current", "current"),
                            ("superseded", "superseded"),
                            ("stale", "stale"),
                            ("quarantined", "quarantined"),
                            ("rejected", "rejected"),
                        ],
                        max_length=12,
                    ),
                ),
                ("actor_kind", models.CharField(max_length=10)),
                ("actor_id", models.CharField(max_length=64)),
                ("reason", models.CharField(help_text="A code.", max_length=40)),
                (
                    "note",
                    models.TextField(
                        blank=True, default="", help_text="A person's own words; erased with the subject."
                    ),
                ),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "workspace",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="access.workspace"
                    ),
                ),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="transitions", to="facts.factversion"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Evidence",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=memoryhub.core.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("kind", models.CharField(choices=[("states", "states"), ("confirms", "confirms")], max_length=8)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "turn",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="evidence", to="memory_sessions.turn"
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="access.workspace"
                    ),
                ),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="evidence", to="facts.factversion"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Recall",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=memoryhub.core.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "session_external_id",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="As the caller named it: it may not have a turn yet.",
                        max_length=256,
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("working_memory", "working memory"),
                            ("search", "search"),
                            ("facts", "facts"),
                            ("preview", "preview"),
                        ],
                        max_length=16,
                    ),
                ),
                ("message", models.TextField(blank=True, default="")),
                ("settings", models.JSONField(default=dict)),
                (
                    "degraded",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=40), default=list, size=None
                    ),
                ),
                ("block", models.TextField(blank=True, default="", help_text='Kept for `refresh: "session"` only.')),
                ("block_hash", models.BinaryField(max_length=32, null=True)),
                (
                    "item_count",
                    models.PositiveSmallIntegerField(
                        default=0, help_text="How many were surfaced; erasure removes rows."
                    ),
                ),
                (
                    "candidates",
                    models.JSONField(default=list, help_text="The best 50 that were considered, with their scores."),
                ),
                ("elapsed_ms", models.FloatField(default=0)),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "agent",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="recalls",
                        to="access.agent",
                    ),
                ),
                (
                    "session",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="recalls",
                        to="memory_sessions.session",
                    ),
                ),
                (
                    "subject",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="recalls",
                        to="memory_sessions.subject",
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
        migrations.CreateModel(
            name="RecalledItem",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=memoryhub.core.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("rank", models.PositiveSmallIntegerField()),
                ("score", models.FloatField(null=True)),
                ("scores", models.JSONField(default=dict)),
                (
                    "status",
                    models.CharField(blank=True, default="", help_text="The version's status then.", max_length=12),
                ),
                ("cited_at", models.DateTimeField(blank=True, null=True)),
                (
                    "recall",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="items", to="facts.recall"
                    ),
                ),
                (
                    "turn",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="recalled",
                        to="memory_sessions.turn",
                    ),
                ),
                (
                    "version",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="recalled",
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
        ),
        migrations.CreateModel(
            name="Extraction",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=memoryhub.core.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("first_index", models.PositiveIntegerField()),
                ("last_index", models.PositiveIntegerField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("due", "due"),
                            ("running", "running"),
                            ("done", "done"),
                            ("failed", "failed, will be tried again"),
                            ("dead", "dead letter"),
                        ],
                        default="due",
                        max_length=8,
                    ),
                ),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("error", models.CharField(blank=True, default="", help_text="A code.", max_length=60)),
                ("model", models.CharField(blank=True, default="", max_length=120)),
                ("input_tokens", models.PositiveIntegerField(default=0)),
                ("output_tokens", models.PositiveIntegerField(default=0)),
                ("cost_usd", models.DecimalField(decimal_places=6, default=0, max_digits=12)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("next_attempt_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "session",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="extractions",
                        to="memory_sessions.session",
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
                "indexes": [models.Index(fields=["state", "next_attempt_at"], name="extraction_claim")],
                "constraints": [
                    models.UniqueConstraint(fields=("session", "first_index"), name="extraction_window_once"),
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ["due", "running", "done", "failed", "dead"])),
                        name="extraction_state_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("last_index__gte", models.F("first_index"))),
                        name="extraction_window_in_order",
                    ),
                ],
            },
        ),
        migrations.AddIndex(
            model_name="fact",
            index=models.Index(fields=["subject", "type", "entity_key", "attribute"], name="fact_identity"),
        ),
        migrations.AddIndex(
            model_name="fact",
            index=models.Index(fields=["workspace", "-id"], name="fact_newest"),
        ),
        migrations.AddConstraint(
            model_name="fact",
            constraint=models.UniqueConstraint(fields=("subject", "handle"), name="fact_handle_once"),
        ),
        migrations.AddConstraint(
            model_name="fact",
            constraint=models.CheckConstraint(
                condition=models.Q(("type__in", ["preference", "decision", "constraint", "goal", "entity"])),
                name="fact_type_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="fact",
            constraint=models.CheckConstraint(
                condition=models.Q(("entity_key", ""), _negated=True), name="fact_entity_given"
            ),
        ),
        migrations.AddIndex(
            model_name="factversion",
            index=django.contrib.postgres.indexes.GinIndex(fields=["mentions"], name="fact_version_mentions"),
        ),
        migrations.AddConstraint(
            model_name="factversion",
            constraint=models.UniqueConstraint(fields=("fact", "number"), name="fact_version_number_once"),
        ),
        migrations.AddConstraint(
            model_name="factversion",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status", "current")), fields=("fact",), name="fact_one_current_version"
            ),
        ),
        migrations.AddConstraint(
            model_name="factversion",
            constraint=models.CheckConstraint(
                condition=models.Q(("confidence__range", (0, 1))), name="fact_version_confidence_in_range"
            ),
        ),
        migrations.AddConstraint(
            model_name="factversion",
            constraint=models.CheckConstraint(
                condition=models.Q(("source__in", ["user", "agent", "operator", "tool", "import"])),
                name="fact_version_source_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="factversion",
            constraint=models.CheckConstraint(
                condition=models.Q(("status__in", ["current", "superseded", "stale", "quarantined", "rejected"])),
                name="fact_version_status_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="factversion",
            constraint=models.CheckConstraint(
                condition=models.Q(("content", ""), _negated=True), name="fact_version_content_given"
            ),
        ),
        migrations.AddConstraint(
            model_name="factversion",
            constraint=models.CheckConstraint(
                condition=models.Q(("number__gte", 1)), name="fact_version_number_from_one"
            ),
        ),
        migrations.AddConstraint(
            model_name="facttransition",
            constraint=models.CheckConstraint(
                condition=models.Q(("to_status__in", ["current", "superseded", "stale", "quarantined", "rejected"])),
                name="transition_status_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="evidence",
            constraint=models.UniqueConstraint(fields=("version", "turn"), name="evidence_once"),
        ),
        migrations.AddConstraint(
            model_name="evidence",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ["states", "confirms"])), name="evidence_kind_known"
            ),
        ),
        migrations.AddIndex(
            model_name="recall",
            index=models.Index(fields=["workspace", "-at"], name="recall_newest"),
        ),
        migrations.AddIndex(
            model_name="recall",
            index=models.Index(fields=["subject", "-at"], name="recall_newest_of_subject"),
        ),
        migrations.AddIndex(
            model_name="recall",
            index=models.Index(
                condition=models.Q(("block", ""), _negated=True),
                fields=["subject", "session_external_id"],
                name="recall_session_block",
            ),
        ),
        migrations.AddConstraint(
            model_name="recall",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ["working_memory", "search", "facts", "preview"])),
                name="recall_kind_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="recalleditem",
            constraint=models.UniqueConstraint(fields=("recall", "rank"), name="recalled_item_rank_once"),
        ),
        migrations.AddConstraint(
            model_name="recalleditem",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("turn__isnull", True), ("version__isnull", False)),
                    models.Q(("turn__isnull", False), ("version__isnull", True)),
                    _connector="OR",
                ),
                name="recalled_item_is_one_thing",
            ),
        ),
        tenant_policy("facts_fact"),
        tenant_policy("facts_factversion"),
        tenant_policy("facts_evidence"),
        tenant_policy("facts_facttransition"),
        tenant_policy("facts_extraction"),
        tenant_policy("facts_recall"),
        tenant_policy("facts_recalleditem"),
        migrations.RunSQL(IMMUTABLE, "drop function facts_version_is_written_once() cascade"),
    ]

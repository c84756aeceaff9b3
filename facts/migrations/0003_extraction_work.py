import django.contrib.postgres.fields
import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import memoryhub.core.ids
from memoryhub.core.tenancy import tenant_policy

# The constraint is deferred: its check has to be over before the column is altered.
FILL_SUBJECT = """
update facts_extraction e set subject_id = s.subject_id,
       indexes = array(select t.index from memory_sessions_turn t where t.session_id = e.session_id
                        and t.index between e.first_index and e.last_index order by t.index)
  from memory_sessions_session s where s.id = e.session_id;
set constraints all immediate;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("facts", "0002_version_provenance"),
        ("memory_sessions", "0003_extraction_planning"),
    ]

    operations = [
        migrations.CreateModel(
            name="ErasedEvidence",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=memoryhub.core.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
        ),
        migrations.CreateModel(
            name="ExtractionBatch",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=memoryhub.core.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("provider_id", models.CharField(blank=True, default="", max_length=100)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("creating", "being created at the provider"),
                            ("submitted", "submitted"),
                            ("applied", "applied, to be deleted at the provider"),
                            ("deleted", "applied and deleted at the provider"),
                            ("lost", "never reached the provider"),
                        ],
                        default="creating",
                        max_length=9,
                    ),
                ),
                ("size", models.PositiveIntegerField()),
                (
                    "leased_until",
                    models.DateTimeField(blank=True, help_text="One worker at a time looks after a batch.", null=True),
                ),
                (
                    "looked_at",
                    models.DateTimeField(blank=True, help_text="When the provider was last asked about it.", null=True),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("submitted_at", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
            ],
        ),
        migrations.CreateModel(
            name="ExtractionDay",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                ("model", models.CharField(max_length=120)),
                ("batched", models.BooleanField(default=False)),
                ("windows", models.PositiveIntegerField(default=0, help_text="Read for facts.")),
                ("failures", models.PositiveIntegerField(default=0, help_text="Attempts that failed.")),
                ("input_tokens", models.PositiveBigIntegerField(default=0)),
                ("output_tokens", models.PositiveBigIntegerField(default=0)),
                ("cache_read_tokens", models.PositiveBigIntegerField(default=0)),
                ("cache_write_tokens", models.PositiveBigIntegerField(default=0)),
                (
                    "cost_usd",
                    models.DecimalField(
                        decimal_places=6, default=0, help_text="Empty when no price is known.", max_digits=14, null=True
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ExtractorState",
            fields=[
                ("name", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("failures", models.PositiveIntegerField(default=0, help_text="In a row, while closed.")),
                ("open_until", models.DateTimeField(blank=True, help_text="Empty while closed.", null=True)),
                ("probe", models.UUIDField(blank=True, help_text="Who may ask whether it is back.", null=True)),
                ("probe_until", models.DateTimeField(blank=True, null=True)),
                (
                    "blocked",
                    models.CharField(blank=True, default="", help_text="A code: a person has to act.", max_length=40),
                ),
                (
                    "error",
                    models.CharField(blank=True, default="", help_text="The last failure's code.", max_length=40),
                ),
                ("changed_at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
        ),
        migrations.RemoveIndex(
            model_name="extraction",
            name="extraction_claim",
        ),
        migrations.AddField(
            model_name="extraction",
            name="cache_read_tokens",
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="extraction",
            name="cache_write_tokens",
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="extraction",
            name="counts",
            field=models.JSONField(
                default=dict, help_text="What became of the facts: how many were added, confirmed, …"
            ),
        ),
        migrations.AddField(
            model_name="extraction",
            name="deaths",
            field=models.PositiveIntegerField(default=0, help_text="Attempts during which the worker ended."),
        ),
        migrations.AddField(
            model_name="extraction",
            name="indexes",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.PositiveIntegerField(), default=list, size=None
            ),
        ),
        migrations.AddField(
            model_name="extraction",
            name="known_handles",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.PositiveIntegerField(),
                default=list,
                help_text="Facts the batch was told of.",
                size=None,
            ),
        ),
        migrations.AddField(
            model_name="extraction",
            name="lease",
            field=models.UUIDField(blank=True, help_text="Who holds it may write the result.", null=True),
        ),
        migrations.AddField(
            model_name="extraction",
            name="leased_by",
            field=models.CharField(blank=True, default="", max_length=100),
        ),
        migrations.AddField(
            model_name="extraction",
            name="leased_until",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="extraction",
            name="prompt_version",
            field=models.CharField(blank=True, default="", max_length=40),
        ),
        migrations.AddField(
            model_name="extraction",
            name="replay",
            field=models.UUIDField(blank=True, help_text="The replay that last put it back into the queue.", null=True),
        ),
        migrations.AddField(
            model_name="extraction",
            name="request_id",
            field=models.CharField(
                blank=True, default="", help_text="The provider's, of the last call.", max_length=100
            ),
        ),
        migrations.AddField(
            model_name="extraction",
            name="subject",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="extractions",
                to="memory_sessions.subject",
            ),
        ),
        migrations.RunSQL(FILL_SUBJECT, migrations.RunSQL.noop),
        migrations.AlterField(
            model_name="extraction",
            name="subject",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="extractions", to="memory_sessions.subject"
            ),
        ),
        migrations.AlterField(
            model_name="extraction",
            name="attempts",
            field=models.PositiveIntegerField(default=0, help_text="Counted, and committed, before the work."),
        ),
        migrations.AlterField(
            model_name="extraction",
            name="cost_usd",
            field=models.DecimalField(
                decimal_places=6, default=0, help_text="Empty when no price is known.", max_digits=12, null=True
            ),
        ),
        migrations.AddField(
            model_name="erasedevidence",
            name="subject",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="+", to="memory_sessions.subject"
            ),
        ),
        migrations.AddField(
            model_name="erasedevidence",
            name="turn",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.CASCADE, related_name="erased_evidence", to="memory_sessions.turn"
            ),
        ),
        migrations.AddField(
            model_name="erasedevidence",
            name="workspace",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="+", to="access.workspace"
            ),
        ),
        migrations.AddField(
            model_name="extractionbatch",
            name="workspace",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="+", to="access.workspace"
            ),
        ),
        migrations.AddField(
            model_name="extraction",
            name="batch",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="windows",
                to="facts.extractionbatch",
            ),
        ),
        migrations.AddIndex(
            model_name="extraction",
            index=models.Index(
                condition=models.Q(("state__in", ("due", "running", "failed"))),
                fields=["workspace", "next_attempt_at"],
                name="extraction_claim",
            ),
        ),
        migrations.AddIndex(
            model_name="extraction",
            index=models.Index(
                condition=models.Q(("state__in", ("due", "running", "failed"))),
                fields=["subject", "id"],
                name="extraction_in_order",
            ),
        ),
        migrations.AddIndex(
            model_name="extraction",
            index=models.Index(
                condition=models.Q(("state", "dead")), fields=["workspace", "-id"], name="extraction_dead"
            ),
        ),
        migrations.AddIndex(
            model_name="extraction",
            index=models.Index(fields=["workspace", "-id"], name="extraction_newest"),
        ),
        migrations.AddField(
            model_name="extractionday",
            name="workspace",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="+", to="access.workspace"
            ),
        ),
        migrations.AddIndex(
            model_name="extractionbatch",
            index=models.Index(
                condition=models.Q(("state__in", ("deleted", "lost")), _negated=True),
                fields=["workspace"],
                name="extraction_batch_open",
            ),
        ),
        migrations.AddConstraint(
            model_name="extractionbatch",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["creating", "submitted", "applied", "deleted", "lost"])),
                name="extraction_batch_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="extractionday",
            constraint=models.UniqueConstraint(
                fields=("workspace", "day", "model", "batched"), name="extraction_day_once"
            ),
        ),
        tenant_policy("facts_extractionbatch"),
        tenant_policy("facts_extractionday"),
        tenant_policy("facts_erasedevidence"),
    ]

import django.utils.timezone
import pgvector.django
from django.db import migrations, models

from memoryhub.core.tenancy import tenant_policy

OWN = [
    ("workspace_id", models.UUIDField()),
    ("subject_id", models.UUIDField()),
    ("kind", models.CharField(max_length=8)),
    ("item", models.UUIDField()),
]
# Index-only scans inside one subject. The workspace stands first so that the policy is answered by the index too.
# Fresh rows cost heap fetches until a vacuum has marked their pages visible, hence the eager settings.
COVERING = """
create index search_vector_scan on search_vector (workspace_id, subject_id, kind, model)
  include (item, embedding);
create index search_posting_scan on search_posting (workspace_id, subject_id, kind, lexeme)
  include (item, frequency, length);
alter table search_vector set (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 4000);
alter table search_posting set (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 40000);
"""


def primary_key():
    return ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"))


class Migration(migrations.Migration):
    initial = True
    dependencies = []

    operations = [
        migrations.RunSQL("create extension if not exists vector", migrations.RunSQL.noop),
        migrations.CreateModel(
            name="Vector",
            fields=[
                primary_key(),
                *OWN,
                ("model", models.CharField(max_length=80)),
                ("embedding", pgvector.django.HalfVectorField()),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("item", "model"), name="search_vector_once")],
            },
        ),
        migrations.CreateModel(
            name="Posting",
            fields=[
                primary_key(),
                *OWN,
                ("lexeme", models.CharField(max_length=64)),
                ("frequency", models.PositiveSmallIntegerField()),
                ("length", models.PositiveIntegerField()),
            ],
            options={"indexes": [models.Index(fields=["item"], name="search_posting_of_item")]},
        ),
        migrations.CreateModel(
            name="Corpus",
            fields=[
                primary_key(),
                ("workspace_id", models.UUIDField()),
                ("subject_id", models.UUIDField()),
                ("kind", models.CharField(max_length=8)),
                ("items", models.PositiveIntegerField()),
                ("length", models.PositiveBigIntegerField()),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("subject_id", "kind"), name="search_corpus_once")],
            },
        ),
        migrations.CreateModel(
            name="Pending",
            fields=[
                primary_key(),
                *OWN,
                ("since", models.DateTimeField(default=django.utils.timezone.now)),
                ("claimed_until", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("item",), name="search_pending_once")],
                "indexes": [
                    models.Index(fields=["workspace_id", "id"], name="search_pending_order"),
                    models.Index(fields=["subject_id"], name="search_pending_of_subject"),
                ],
            },
        ),
        migrations.RunSQL(COVERING, migrations.RunSQL.noop),
        *(tenant_policy(f"search_{table}") for table in ("vector", "posting", "corpus", "pending")),
    ]

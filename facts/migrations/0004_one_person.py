from django.db import migrations

from memoryhub.core.tenancy import subject_policy


class Migration(migrations.Migration):
    """What whoever comes with a subject token may see: one person."""

    dependencies = [
        ("memory_sessions", "0004_one_person"),
        ("facts", "0003_extraction_work"),
    ]

    operations = [
        subject_policy("facts_fact"),
        subject_policy("facts_factversion", column="fact_id", through="facts_fact"),
        subject_policy("facts_evidence", column="version_id", through="facts_factversion"),
        subject_policy("facts_facttransition", column="version_id", through="facts_factversion"),
        subject_policy("facts_extraction"),
        subject_policy("facts_recall"),
        subject_policy("facts_recalleditem", column="recall_id", through="facts_recall"),
    ]

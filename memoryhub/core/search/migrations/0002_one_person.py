from django.db import migrations

from memoryhub.core.tenancy import subject_policy


class Migration(migrations.Migration):
    """What whoever comes with a subject token may see: one person."""

    dependencies = [
        ("search", "0001_initial"),
    ]

    operations = [subject_policy(f"search_{table}") for table in ("vector", "posting", "corpus", "pending")]

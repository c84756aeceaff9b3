from django.db import migrations

from memoryhub.core.tenancy import subject_policy


class Migration(migrations.Migration):
    """What whoever comes with a subject token may see: one person. What they do is recorded like anybody's."""

    dependencies = [
        ("audit", "0001_initial"),
    ]

    operations = [subject_policy(f"audit_{table}", write=False) for table in ("entry", "commitment")]

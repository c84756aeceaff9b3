from django.db import migrations

from memoryhub.core.tenancy import subject_policy


class Migration(migrations.Migration):
    dependencies = [
        ("facts", "0005_quarantine"),
    ]

    operations = [subject_policy("facts_erasedevidence")]

import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("access", "0003_keys_and_limits"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="apikey",
            name="api_key_scopes_known",
        ),
        migrations.AlterField(
            model_name="apikey",
            name="scopes",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(
                    choices=[
                        ("turns:write", "record turns and close sessions"),
                        ("memory:read", "read working memory, search and facts"),
                        ("facts:write", "add, correct, mark stale and restore facts"),
                        ("audit:read", "read the audit log"),
                        ("subjects:manage", "list, restrict and pause subjects"),
                        ("facts:review", "approve and reject facts that wait for review"),
                        ("extractions:manage", "see extractions, replay dead letters"),
                        ("tokens:create", "make short-lived tokens for one person"),
                    ],
                    max_length=32,
                ),
                size=None,
            ),
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "scopes__contained_by",
                        [
                            "turns:write",
                            "memory:read",
                            "facts:write",
                            "audit:read",
                            "subjects:manage",
                            "facts:review",
                            "extractions:manage",
                            "tokens:create",
                        ],
                    )
                ),
                name="api_key_scopes_known",
            ),
        ),
    ]

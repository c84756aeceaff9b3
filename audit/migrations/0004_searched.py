from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0003_erasure"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="entry",
            index=models.Index(
                condition=models.Q(("object_id", ""), _negated=True),
                fields=["workspace_id", "object_id", "-id"],
                name="audit_by_object",
            ),
        ),
        migrations.AddIndex(
            model_name="entry",
            index=models.Index(
                condition=models.Q(("request_id", ""), _negated=True),
                fields=["workspace_id", "request_id", "-id"],
                name="audit_by_request",
            ),
        ),
        migrations.AddIndex(
            model_name="entry",
            index=models.Index(
                condition=models.Q(("outcome", "ok"), _negated=True),
                fields=["workspace_id", "-id"],
                name="audit_not_ok",
            ),
        ),
    ]

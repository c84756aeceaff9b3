from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("facts", "0009_days_in_shards"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="fact",
            index=models.Index(fields=["workspace", "entity_key"], name="fact_about"),
        ),
        migrations.AddIndex(
            model_name="factversion",
            index=models.Index(fields=["workspace", "status", "-id"], name="fact_version_newest"),
        ),
        migrations.AddIndex(
            model_name="recall",
            index=models.Index(fields=["workspace", "kind", "-at"], name="recall_newest_of_kind"),
        ),
        migrations.AddIndex(
            model_name="recall",
            index=models.Index(
                condition=models.Q(("degraded", []), _negated=True), fields=["workspace", "-at"], name="recall_degraded"
            ),
        ),
        migrations.AddIndex(
            model_name="recall",
            index=models.Index(fields=["subject", "session_external_id", "-at"], name="recall_newest_of_session"),
        ),
        migrations.AddIndex(
            model_name="recalleditem",
            index=models.Index(
                condition=models.Q(("cited_at__isnull", False)),
                fields=["workspace", "cited_at"],
                name="recalled_item_cited",
            ),
        ),
    ]

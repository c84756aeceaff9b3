from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("access", "0005_people"),
        ("facts", "0007_what_took_its_place"),
        ("memory_sessions", "0005_turn_results"),
    ]

    operations = [
        migrations.AddField(
            model_name="extractorstate",
            name="probe_by",
            field=models.CharField(blank=True, default="", help_text="The worker that asks.", max_length=100),
        ),
        migrations.AddIndex(
            model_name="extraction",
            index=models.Index(
                condition=models.Q(("deaths__gte", 1), ("state__in", ("due", "running", "failed"))),
                fields=["workspace"],
                name="extraction_suspect",
            ),
        ),
    ]

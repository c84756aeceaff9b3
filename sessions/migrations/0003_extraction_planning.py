from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("memory_sessions", "0002_turn_screening"),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="session",
            name="session_extraction_due",
        ),
        migrations.AddField(
            model_name="session",
            name="turns_planned",
            field=models.PositiveIntegerField(default=0, help_text="Turns there were when it was last cut up."),
        ),
        migrations.AlterField(
            model_name="session",
            name="extract_due_at",
            field=models.DateTimeField(blank=True, help_text="Empty: nothing new to extract from.", null=True),
        ),
        migrations.AddIndex(
            model_name="session",
            index=models.Index(
                condition=models.Q(("extract_due_at__isnull", False)),
                fields=["workspace", "extract_due_at"],
                name="session_extraction_due",
            ),
        ),
        migrations.AddIndex(
            model_name="session",
            index=models.Index(
                condition=models.Q(("extract_due_at__isnull", False)),
                fields=["subject"],
                name="session_extraction_waits",
            ),
        ),
    ]

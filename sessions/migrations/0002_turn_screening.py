from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("memory_sessions", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="turn",
            name="findings",
            field=models.JSONField(
                blank=True, default=list, help_text="What screening found, as classes and places; never the values."
            ),
        ),
        migrations.AddField(
            model_name="turn",
            name="withheld_at",
            field=models.DateTimeField(blank=True, help_text="Kept, but never surfaced nor extracted from.", null=True),
        ),
        migrations.AddField(
            model_name="turn",
            name="withheld_reason",
            field=models.CharField(blank=True, default="", help_text="A code.", max_length=40),
        ),
        migrations.AddField(
            model_name="turn",
            name="written_with",
            field=models.CharField(blank=True, default="", help_text="The credential's public prefix.", max_length=64),
        ),
        migrations.AlterField(
            model_name="turn",
            name="digest",
            field=models.BinaryField(
                help_text="SHA-256 of what was kept: tells a retry from a conflict.", max_length=32
            ),
        ),
    ]

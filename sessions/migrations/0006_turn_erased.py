from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("memory_sessions", "0005_turn_results"),
    ]

    operations = [
        migrations.AddField(
            model_name="turn",
            name="erased_at",
            field=models.DateTimeField(blank=True, help_text="When a statement was taken out of it.", null=True),
        ),
    ]

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("memory_sessions", "0006_turn_erased"),
    ]

    operations = [
        migrations.AddField(
            model_name="subject",
            name="held_back_at",
            field=models.DateTimeField(
                blank=True,
                help_text="Since a request to erase, or an objection, came in that is not decided yet.",
                null=True,
            ),
        ),
    ]

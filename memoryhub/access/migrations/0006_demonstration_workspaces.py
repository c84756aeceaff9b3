from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("access", "0005_people"),
    ]

    operations = [
        migrations.AddField(
            model_name="workspace",
            name="is_demo",
            field=models.BooleanField(
                default=False, help_text="Holds the demonstration, and can be removed as a whole."
            ),
        ),
    ]

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("facts", "0006_one_person_erased_evidence"),
    ]

    operations = [
        migrations.AddField(
            model_name="facttransition",
            name="superseded_by",
            field=models.UUIDField(blank=True, help_text="The version that took its place.", null=True),
        ),
    ]

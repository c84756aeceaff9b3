from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("access", "0005_people"),
        ("facts", "0008_probes_and_suspects"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="extractionday",
            name="extraction_day_once",
        ),
        migrations.AddField(
            model_name="extractionday",
            name="shard",
            field=models.PositiveSmallIntegerField(default=0, help_text="By the connection that counts."),
        ),
        migrations.AddConstraint(
            model_name="extractionday",
            constraint=models.UniqueConstraint(
                fields=("workspace", "day", "model", "batched", "shard"), name="extraction_day_once"
            ),
        ),
    ]

from django.db import migrations, models

FILL = """
update memory_sessions_turn set holds_results = true
 where role = 'tool' or tool_result is not null
    or jsonb_path_exists(content, '$[*] ? (@.type like_regex "tool_result$|^search_result$")')
"""


class Migration(migrations.Migration):
    dependencies = [
        ("access", "0003_keys_and_limits"),
        ("memory_sessions", "0004_one_person"),
    ]

    operations = [
        migrations.AddField(
            model_name="turn",
            name="holds_results",
            field=models.BooleanField(
                default=False,
                help_text="Holds what tools or searches returned: not, or not only, its speaker's own words.",
            ),
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        migrations.AddIndex(
            model_name="turn",
            index=models.Index(
                condition=models.Q(("written_with", ""), _negated=True),
                fields=["workspace", "written_with"],
                name="turn_written_with",
            ),
        ),
    ]

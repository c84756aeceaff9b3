from django.db import migrations, models

MAY_CHANGE = """
create or replace function facts_version_is_written_once() returns trigger language plpgsql as $$
begin
  if (to_jsonb(new) - '{{{columns}}}'::text[]) is distinct from (to_jsonb(old) - '{{{columns}}}'::text[])
     or (new.session_id is distinct from old.session_id and new.session_id is not null) then
    raise exception 'a fact version is never changed: add a new one' using errcode = 'restrict_violation';
  end if;
  return new;
end $$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("facts", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="factversion",
            name="approved_at",
            field=models.DateTimeField(blank=True, help_text="When a person let it in for every agent.", null=True),
        ),
        migrations.AddField(
            model_name="factversion",
            name="findings",
            field=models.JSONField(
                blank=True,
                default=list,
                help_text="Why it waits for review: codes with places in the content, never values.",
            ),
        ),
        migrations.AddField(
            model_name="factversion",
            name="special_category",
            field=models.CharField(
                blank=True,
                default="",
                help_text="Of GDPR art. 9, as labelled by who stated it; else empty.",
                max_length=32,
            ),
        ),
        migrations.AddField(
            model_name="factversion",
            name="written_with",
            field=models.CharField(blank=True, default="", help_text="The credential's public prefix.", max_length=64),
        ),
        migrations.RunSQL(
            MAY_CHANGE.format(columns="status,status_at,session_id,approved_at"),
            MAY_CHANGE.format(columns="status,status_at,session_id"),
        ),
    ]

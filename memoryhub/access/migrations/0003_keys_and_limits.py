from importlib import import_module

import django.db.models.deletion
from django.db import migrations, models

from memoryhub.core.tenancy import tenant_policy

ANSWER = """
  state text, key_id uuid, key_prefix text, expires_at timestamptz, workspace_id uuid, workspace_slug text,
  text_config text, policy text, agent_id uuid, agent_name text, mode text, scopes text[], rate_per_minute integer,
  requests integer, over text, retry_after integer
"""


def admission(
    name: str, arguments: str, where: str, *, joins: str = "", also_select: str = "", also_answer: str = ""
) -> str:
    """A function that finds a key in one round trip, counts the request, and says whether it is within the limits.

    It runs as the owner because no workspace is known yet; it gives away nothing to a caller who does not hold the
    credential that `where` asks for. Its last argument is `default_rate`, the limit of a key that has none of its own.
    `also_select` and `also_answer` add the column `also` to what it selects and answers. Columns of the answer are only
    ever added: a process of the version before selects those it knows by name.
    """
    return f"""
create function {name}({arguments}, default_rate integer default null)
returns table ({ANSWER}{also_answer})
language plpgsql security definer set search_path = pg_catalog, public as $$
#variable_conflict use_column
declare
  found record;
  this_minute timestamptz := date_trunc('minute', now());
  used integer;
  used_by_all integer;
  most_of_all integer;
  over_which text;
begin
  select k.id, k.prefix, k.expires_at, k.workspace_id, w.slug, w.text_config, w.policy, k.agent_id, a.name, a.mode,
         k.scopes, k.rate_per_minute{also_select},
         case when k.revoked_at is not null then 'revoked'
              when k.expires_at <= now() then 'expired' else 'live' end as state
    into found
    from public.access_apikey k
    join public.access_agent a on a.id = k.agent_id
    join public.access_workspace w on w.id = k.workspace_id
    {joins}
   where {where};
  if found.id is null then
    return;
  end if;
  if found.state = 'live' then
    -- A request that waited for the row over the turn of a minute must not turn it back.
    insert into public.access_keyusage as u (key_id, workspace_id, minute, requests, last_used_at)
    values (found.id, found.workspace_id, this_minute, 1, now())
    on conflict (key_id) do update set
      requests = case when u.minute >= excluded.minute then u.requests + 1 else 1 end,
      minute = greatest(u.minute, excluded.minute), last_used_at = excluded.last_used_at
    returning u.requests into used;
    most_of_all := (found.policy ->> 'requests_per_minute')::integer;
    if used > coalesce(found.rate_per_minute, default_rate) then
      over_which := 'key';
    elsif most_of_all is not null then
      -- What a key's own limit refuses is not taken from what the others have.
      insert into public.access_workspaceusage as u (workspace_id, minute, requests)
      values (found.workspace_id, this_minute, 1)
      on conflict (workspace_id) do update set
        requests = case when u.minute >= excluded.minute then u.requests + 1 else 1 end,
        minute = greatest(u.minute, excluded.minute)
      returning u.requests into used_by_all;
      if used_by_all > most_of_all then
        over_which := 'workspace';
      end if;
    end if;
  end if;
  return query select found.state, found.id, found.prefix::text, found.expires_at, found.workspace_id,
    found.slug::text, found.text_config::text, found.policy::text, found.agent_id, found.name::text, found.mode::text,
    found.scopes::text[], found.rate_per_minute, used, over_which,
    ceil(60 - extract(second from clock_timestamp()))::integer{", found.also::text" if also_answer else ""};
end $$;
revoke all on function {name} from public;
"""  # noqa: S608 - made of constants


AUTHENTICATE = admission(
    "access_authenticate", "given_prefix text, key_sha256 bytea", "k.prefix = given_prefix and k.digest = key_sha256"
)
BEFORE = import_module("memoryhub.access.migrations.0001_initial").AUTHENTICATE


class Migration(migrations.Migration):
    dependencies = [
        ("access", "0002_policy_and_scopes"),
    ]

    operations = [
        migrations.AddField(
            model_name="apikey",
            name="replaces",
            field=models.ForeignKey(
                blank=True,
                help_text="The key this one was made in place of, by rotation.",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="successors",
                to="access.apikey",
            ),
        ),
        migrations.CreateModel(
            name="WorkspaceUsage",
            fields=[
                (
                    "workspace",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="usage",
                        serialize=False,
                        to="access.workspace",
                    ),
                ),
                ("minute", models.DateTimeField()),
                ("requests", models.PositiveIntegerField()),
            ],
        ),
        migrations.RunSQL(
            "alter table access_workspaceusage set unlogged", "alter table access_workspaceusage set logged"
        ),
        tenant_policy("access_workspaceusage"),
        migrations.RunSQL(
            f"drop function access_authenticate(text, bytea); {AUTHENTICATE}",
            f"drop function access_authenticate(text, bytea, integer); {BEFORE}",
        ),
    ]

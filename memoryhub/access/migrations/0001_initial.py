import django.contrib.auth.models
import django.contrib.auth.validators
import django.contrib.postgres.fields
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import memoryhub.core.ids
from memoryhub.core.tenancy import tenant_policy

# One round trip answers for a key and counts the request. It runs as the owner because no workspace is known yet; it
# gives away nothing to a caller who does not hold the key, and a revoked or expired key gets no row's content.
AUTHENTICATE = """
create function access_authenticate(key_prefix text, key_sha256 bytea)
returns table (
  state text, key_id uuid, workspace_id uuid, workspace_slug text, text_config text, agent_id uuid, agent_name text,
  mode text, scopes text[], rate_per_minute integer, requests integer
)
language plpgsql security definer set search_path = pg_catalog, public as $$
#variable_conflict use_column
declare
  found record;
  used integer;
begin
  select k.id, k.workspace_id, w.slug, w.text_config, k.agent_id, a.name, a.mode, k.scopes, k.rate_per_minute,
         case when k.revoked_at is not null then 'revoked'
              when k.expires_at <= now() then 'expired' else 'live' end as state
    into found
    from public.access_apikey k
    join public.access_agent a on a.id = k.agent_id
    join public.access_workspace w on w.id = k.workspace_id
   where k.prefix = key_prefix and k.digest = key_sha256;
  if found.id is null then
    return;
  end if;
  if found.state = 'live' then
    insert into public.access_keyusage as u (key_id, workspace_id, minute, requests, last_used_at)
    values (found.id, found.workspace_id, date_trunc('minute', now()), 1, now())
    on conflict (key_id) do update set
      requests = case when u.minute = excluded.minute then u.requests + 1 else 1 end,
      minute = excluded.minute, last_used_at = excluded.last_used_at
    returning u.requests into used;
  end if;
  return query select found.state, found.id, found.workspace_id, found.slug::text, found.text_config::text,
    found.agent_id, found.name::text, found.mode::text, found.scopes::text[], found.rate_per_minute, used;
end $$;
revoke all on function access_authenticate(text, bytea) from public;
"""


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [
        migrations.CreateModel(
            name="Agent",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=memoryhub.core.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("name", models.SlugField(max_length=64)),
                (
                    "mode",
                    models.CharField(
                        choices=[
                            ("stateless", "stateless: neither reads nor writes"),
                            ("episodic", "episodic: turns only, no extraction, no facts"),
                            ("full", "full: all layers, may mark facts stale"),
                            ("managed", "managed: full, and may remember and forget"),
                        ],
                        default="full",
                        max_length=10,
                    ),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
        ),
        migrations.CreateModel(
            name="Workspace",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=memoryhub.core.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("slug", models.SlugField(max_length=64, unique=True)),
                ("name", models.CharField(max_length=120)),
                (
                    "text_config",
                    models.CharField(
                        default="english", help_text="How words are cut and stemmed for keyword search.", max_length=32
                    ),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
        ),
        migrations.CreateModel(
            name="User",
            fields=[
                ("password", models.CharField(max_length=128, verbose_name="password")),
                ("last_login", models.DateTimeField(blank=True, null=True, verbose_name="last login")),
                (
                    "is_superuser",
                    models.BooleanField(
                        default=False,
                        help_text="Designates that this user has all permissions without explicitly assigning them.",
                        verbose_name="superuser status",
                    ),
                ),
                (
                    "username",
                    models.CharField(
                        error_messages={"unique": "A user with that username already exists."},
                        help_text="Required. 150 characters or fewer. Letters, digits and @/./+/-/_ only.",
                        max_length=150,
                        unique=True,
                        validators=[django.contrib.auth.validators.UnicodeUsernameValidator()],
                        verbose_name="username",
                    ),
                ),
                ("first_name", models.CharField(blank=True, max_length=150, verbose_name="first name")),
                ("last_name", models.CharField(blank=True, max_length=150, verbose_name="last name")),
                ("email", models.EmailField(blank=True, max_length=254, verbose_name="email address")),
                (
                    "is_staff",
                    models.BooleanField(
                        default=False,
                        help_text="Designates whether the user can log into this admin site.",
                        verbose_name="staff status",
                    ),
                ),
                (
                    "is_active",
                    models.BooleanField(
                        default=True,
                        help_text="Designates whether this user should be treated as active. Unselect this instead of deleting accounts.",
                        verbose_name="active",
                    ),
                ),
                ("date_joined", models.DateTimeField(default=django.utils.timezone.now, verbose_name="date joined")),
                (
                    "id",
                    models.UUIDField(
                        default=memoryhub.core.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "groups",
                    models.ManyToManyField(
                        blank=True,
                        help_text="The groups this user belongs to. A user will get all permissions granted to each of their groups.",
                        related_name="user_set",
                        related_query_name="user",
                        to="auth.group",
                        verbose_name="groups",
                    ),
                ),
                (
                    "user_permissions",
                    models.ManyToManyField(
                        blank=True,
                        help_text="Specific permissions for this user.",
                        related_name="user_set",
                        related_query_name="user",
                        to="auth.permission",
                        verbose_name="user permissions",
                    ),
                ),
            ],
            options={
                "verbose_name": "user",
                "verbose_name_plural": "users",
                "abstract": False,
            },
            managers=[
                ("objects", django.contrib.auth.models.UserManager()),
            ],
        ),
        migrations.CreateModel(
            name="ApiKey",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=memoryhub.core.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("prefix", models.CharField(max_length=12, unique=True)),
                ("digest", models.BinaryField(max_length=32)),
                (
                    "scopes",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(
                            choices=[
                                ("turns:write", "record turns and close sessions"),
                                ("memory:read", "read working memory, search and facts"),
                                ("facts:write", "add, correct, mark stale and restore facts"),
                                ("audit:read", "read the audit log"),
                                ("subjects:manage", "list, restrict and pause subjects"),
                            ],
                            max_length=32,
                        ),
                        size=None,
                    ),
                ),
                (
                    "rate_per_minute",
                    models.PositiveIntegerField(blank=True, help_text="Empty: the deployment's default.", null=True),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                (
                    "agent",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="api_keys", to="access.agent"
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="api_keys", to="access.workspace"
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="agent",
            name="workspace",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="agents", to="access.workspace"
            ),
        ),
        migrations.CreateModel(
            name="KeyUsage",
            fields=[
                (
                    "key",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="usage",
                        serialize=False,
                        to="access.apikey",
                    ),
                ),
                ("minute", models.DateTimeField()),
                ("requests", models.PositiveIntegerField()),
                ("last_used_at", models.DateTimeField()),
                (
                    "workspace",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="access.workspace"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Membership",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=memoryhub.core.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "role",
                    models.CharField(
                        choices=[
                            ("viewer", "viewer"),
                            ("operator", "operator"),
                            ("privacy_officer", "privacy officer"),
                            ("auditor", "auditor"),
                            ("admin", "admin"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="memberships",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="memberships", to="access.workspace"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("workspace", "user"), name="membership_once"),
                    models.CheckConstraint(
                        condition=models.Q(("role__in", ["viewer", "operator", "privacy_officer", "auditor", "admin"])),
                        name="membership_role_known",
                    ),
                ],
            },
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "scopes__contained_by",
                        ["turns:write", "memory:read", "facts:write", "audit:read", "subjects:manage"],
                    )
                ),
                name="api_key_scopes_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="agent",
            constraint=models.UniqueConstraint(fields=("workspace", "name"), name="agent_name_once"),
        ),
        migrations.AddConstraint(
            model_name="agent",
            constraint=models.CheckConstraint(
                condition=models.Q(("mode__in", ["stateless", "episodic", "full", "managed"])), name="agent_mode_known"
            ),
        ),
        tenant_policy("access_agent"),
        tenant_policy("access_apikey"),
        tenant_policy("access_keyusage"),
        tenant_policy(
            "access_membership",
            also="user_id = (select nullif(current_setting('mh.user', true), '')::uuid)",
        ),
        migrations.RunSQL("alter table access_keyusage set unlogged", "alter table access_keyusage set logged"),
        migrations.RunSQL(AUTHENTICATE, "drop function access_authenticate(text, bytea)"),
    ]

from importlib import import_module

from django.db import migrations

from memoryhub.core.tenancy import subject_policy

admission = import_module("memoryhub.access.migrations.0003_keys_and_limits").admission

# A token is dead when its key is, when its agent's mode is not the one it was made under, and when its person is
# restricted or gone. It tells the caller's own id for the person, which stands in no token.
AUTHENTICATE_TOKEN = admission(
    "memory_sessions_authenticate_token",
    "token_key uuid, token_mode text, token_subject uuid",
    "k.id = token_key and a.mode = token_mode and s.restricted_at is null",
    joins="join public.memory_sessions_subject s on s.id = token_subject and s.workspace_id = k.workspace_id",
    also_select=", s.external_id as also",
    also_answer=", also text",
)


class Migration(migrations.Migration):
    """What whoever comes with a subject token may see: one person."""

    dependencies = [
        ("access", "0003_keys_and_limits"),
        ("memory_sessions", "0003_extraction_planning"),
    ]

    operations = [
        subject_policy("memory_sessions_subject", column="id"),
        subject_policy("memory_sessions_session"),
        subject_policy("memory_sessions_turn", column="session_id", through="memory_sessions_session"),
        migrations.RunSQL(
            AUTHENTICATE_TOKEN,
            "drop function memory_sessions_authenticate_token(uuid, text, uuid, integer)",
        ),
    ]

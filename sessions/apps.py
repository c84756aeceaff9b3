from django.apps import AppConfig


class SessionsConfig(AppConfig):
    """Episodic memory: subjects, sessions and their turns, verbatim."""

    name = "sessions"
    # django.contrib.sessions owns the label "sessions".
    label = "memory_sessions"
    default_auto_field = "django.db.models.BigAutoField"

from django.apps import AppConfig


class SessionsConfig(AppConfig):
    """Episodic memory: subjects, sessions and their turns, verbatim."""

    name = "sessions"
    # django.contrib.sessions owns the label "sessions".
    label = "memory_sessions"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from audit import registry
        from memoryhub.core.search.texts import register_texts
        from sessions.indexing import KIND, turn_texts
        from sessions.stores import stores

        register_texts(KIND, turn_texts)
        for store in stores():
            registry.register(store)

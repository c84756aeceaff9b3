from django.apps import AppConfig


class AuditConfig(AppConfig):
    """The audit log: entries, commitments, and the registry of personal-data stores."""

    name = "audit"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from audit import registry, stores

        registry.register(stores.AuditStore())

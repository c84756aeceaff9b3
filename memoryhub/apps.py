from django.apps import AppConfig


class MemoryHubConfig(AppConfig):
    """The top of the house: pages, API and commands over the apps below."""

    name = "memoryhub"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django.db.backends.signals import connection_created
        from django.db.models.signals import post_migrate

        from audit import registry
        from memoryhub import checks  # noqa: F401
        from memoryhub.core.roles import grant_runtime_privileges, refuse_unbound_role
        from memoryhub.stores import QueueStore, SignInStore

        registry.register(QueueStore())
        registry.register(SignInStore())
        post_migrate.connect(grant_runtime_privileges, sender=self, dispatch_uid="memoryhub.runtime_privileges")
        connection_created.connect(refuse_unbound_role, dispatch_uid="memoryhub.unbound_role")

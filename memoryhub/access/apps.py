from django.apps import AppConfig


class AccessConfig(AppConfig):
    """People and roles, workspaces, agents and their API keys."""

    name = "memoryhub.access"
    label = "access"
    default_auto_field = "django.db.models.BigAutoField"

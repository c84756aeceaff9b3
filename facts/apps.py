from django.apps import AppConfig


class FactsConfig(AppConfig):
    """Semantic memory: facts, their versions and evidence, retrieval and working memory."""

    name = "facts"
    default_auto_field = "django.db.models.BigAutoField"

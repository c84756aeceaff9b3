from django.apps import AppConfig


class SearchConfig(AppConfig):
    """Hybrid search over anything that belongs to a subject: exact vectors and BM25, inside one subject."""

    name = "memoryhub.core.search"
    label = "search"
    default_auto_field = "django.db.models.BigAutoField"

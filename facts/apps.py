from django.apps import AppConfig


class FactsConfig(AppConfig):
    """Semantic memory: facts, their versions and evidence, retrieval and working memory."""

    name = "facts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from audit import registry
        from facts.forgetting import PersonalMemory
        from facts.indexing import KIND, version_texts
        from facts.stores import fact_store
        from memoryhub.core.search.texts import register_texts

        register_texts(KIND, version_texts)
        registry.register(fact_store())
        registry.register_memory(PersonalMemory())

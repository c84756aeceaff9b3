"""Every setting of the hub, from the environment (or a `.env` file beside manage.py). A bad value stops the start."""

import secrets
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from csp.constants import NONCE

from memoryhub.core.observability import logging_config
from memoryhub.core.postgres import connection_settings

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
environ.Env.read_env(BASE_DIR / ".env")

DEBUG = env.bool("DEBUG", default=False)
DATA_DIR = Path(env.str("MEMORYHUB_DATA_DIR", default=str(BASE_DIR / ".memoryhub"))).resolve()

# `up` makes the file; a process that finds neither file nor variable works with a throw-away key.
_secret_file = DATA_DIR / "secret_key"
SECRET_KEY = env.str("SECRET_KEY", default="") or (
    _secret_file.read_text().strip() if _secret_file.is_file() else "insecure-" + secrets.token_urlsafe(48)
)
# Former keys: what they signed (sessions, subject tokens) stays valid until it ends by itself.
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
# Recognises what was erased. Kept in the data directory; hubs on several hosts have to share one.
ERASURE_KEY = env.str("ERASURE_KEY", default="")
AUDIT_SIGNING_KEY = env.str("AUDIT_SIGNING_KEY", default="")
AUDIT_RECEIPT_KEY = env.str("AUDIT_RECEIPT_KEY", default="")
# How often the whole log is checked; 0: only when somebody asks.
AUDIT_VERIFY_HOURS = env.int("AUDIT_VERIFY_HOURS", default=24)
# Where checkpoints go outside the database: a folder, a command that reads them, or both; at most once in so many
# seconds for each workspace.
AUDIT_ANCHOR_DIR = env.str("AUDIT_ANCHOR_DIR", default="")
AUDIT_ANCHOR_COMMAND = env.str("AUDIT_ANCHOR_COMMAND", default="")
AUDIT_ANCHOR_SECONDS = env.float("AUDIT_ANCHOR_SECONDS", default=60.0)
AUDIT_ANCHOR_TIMEOUT = env.float("AUDIT_ANCHOR_TIMEOUT", default=30.0)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

# Web alone keeps a connection pool: forked queue workers must not share sockets.
PROCESS = env.str("MEMORYHUB_PROCESS", default="command")
WEB_THREADS = env.int("WEB_THREADS", default=8)
WEB_WORKERS = env.int("WEB_WORKERS", default=2)
# Within which a request has to arrive whole, and each part of an answer to be taken.
WEB_REQUEST_SECONDS = env.float("WEB_REQUEST_SECONDS", default=30.0)


def _price(model: str, *, since: str, input: str, output: str) -> dict[str, Any]:
    """A line of the price table: writing to the prompt cache costs 1.25 of ordinary input, reading from it a tenth."""
    return {
        "model": model,
        "since": since,
        "input": input,
        "output": output,
        "cache_write": str(Decimal(input) * Decimal("1.25")),
        "cache_read": str(Decimal(input) * Decimal("0.1")),
    }


def _origin(url: str) -> list[str]:
    """The origin of `url` as the content security policy names it, in a list; none for an empty one."""
    parts = urlsplit(url)
    return [f"{parts.scheme}://{parts.netloc}"] if parts.netloc else []


def _database(url_variable: str, embedded_role: str) -> dict[str, Any]:
    settings: dict[str, Any] = (
        env.db_url(url_variable) if env.str(url_variable, default="") else connection_settings(DATA_DIR, embedded_role)
    )
    return settings | {"ENGINE": "django.db.backends.postgresql", "ATOMIC_REQUESTS": False}


EMBEDDED_DATABASE = not env.str("DATABASE_URL", default="")
DATABASES = {"default": _database("DATABASE_URL", "memoryhub")}
if EMBEDDED_DATABASE:
    DATABASES["owner"] = _database("", "memoryhub_owner")
else:
    DATABASES["owner"] = _database(
        "DATABASE_OWNER_URL" if env.str("DATABASE_OWNER_URL", default="") else "DATABASE_URL", ""
    )
if PROCESS == "web":
    DATABASES["default"]["OPTIONS"] = DATABASES["default"].get("OPTIONS", {}) | {
        "pool": {"min_size": 2, "max_size": WEB_THREADS + 2, "timeout": 10}
    }
    # A connection that died with the server is noticed before a request is given it.
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DATABASES["default"]["OPTIONS"] = DATABASES["default"].get("OPTIONS", {}) | {"server_side_binding": False}

INSTALLED_APPS = [
    "memoryhub",
    "memoryhub.core.search",
    "audit",
    "memoryhub.access",
    "sessions",
    "facts",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.contrib.postgres",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.usersessions",
    "django_filters",
    "django_htmx",
    "django_q",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]

MIDDLEWARE = [
    "memoryhub.core.observability.RequestMiddleware",
    "memoryhub.core.web.HeadersMiddleware",
    "csp.middleware.CSPMiddleware",
    "memoryhub.core.web.BodyLimitMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "memoryhub.console.timeouts.TimeoutMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "memoryhub.urls"
WSGI_APPLICATION = "memoryhub.wsgi.application"
APPEND_SLASH = False
AUTH_USER_MODEL = "access.User"
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "sign-in"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "memoryhub.core.web.csp_nonce",
            ],
            "libraries": {"console": "memoryhub.console.template_tags"},
        },
    },
]

# Signing in.
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
ACCOUNT_ADAPTER = "memoryhub.console.signin.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_EMAIL_NOTIFICATIONS = False
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = False
ACCOUNT_REAUTHENTICATION_TIMEOUT = 300
ACCOUNT_FORMS = {"login": "memoryhub.console.signin.SignInForm"}
# Wrong passwords: of one account, and from one address whatever the account.
ACCOUNT_RATE_LIMITS = {"login": "60/m/ip", "login_failed": "10/10m/key,60/10m/ip", "reauthenticate": "10/m/user"}
# How many proxies that add to X-Forwarded-For stand before the hub: without it every address is the proxy's.
ALLAUTH_TRUSTED_PROXY_COUNT = env.int("TRUSTED_PROXIES", default=0)
MFA_ADAPTER = "memoryhub.console.signin.SecondFactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER = "MemoryHub"
# Browsers allow passkeys over plain HTTP on localhost alone.
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not env.bool("HTTPS", default=False)
USERSESSIONS_TRACK_ACTIVITY = False

SOCIALACCOUNT_ADAPTER = "memoryhub.console.signin.SingleSignOnAdapter"
SOCIALACCOUNT_STORE_TOKENS = False
OIDC_SERVER_URL = env.str("OIDC_SERVER_URL", default="")
OIDC_NAME = env.str("OIDC_NAME", default="single sign-on")
OIDC_ALLOWED_DOMAINS = [domain.lower() for domain in env.list("OIDC_ALLOWED_DOMAINS", default=[])]
SOCIALACCOUNT_PROVIDERS = {
    "openid_connect": {
        "OAUTH_PKCE_ENABLED": True,
        "APPS": [
            {
                "provider_id": "sso",
                "name": OIDC_NAME,
                "client_id": env.str("OIDC_CLIENT_ID", default=""),
                "secret": env.str("OIDC_CLIENT_SECRET", default=""),
                "settings": {"server_url": OIDC_SERVER_URL, "oauth_pkce_enabled": True},
            }
        ]
        if OIDC_SERVER_URL
        else [],
    }
}
# Invitations are mailed where this names a server: smtp://user:password@host:587/?tls=True
EMAIL_CONFIG = env.email_url("EMAIL_URL", default="dummymail://")
vars().update(EMAIL_CONFIG)
DEFAULT_FROM_EMAIL = env.str("EMAIL_FROM", default="memoryhub@localhost")
# Counts of failed sign-ins have to hold in every process.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "access_cache",
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    }
}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    *(
        {"NAME": f"django.contrib.auth.password_validation.{name}"}
        for name in ("UserAttributeSimilarityValidator", "CommonPasswordValidator", "NumericPasswordValidator")
    ),
]

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
# Served from the packages and static/ themselves: nothing has to be collected before a start.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG

HTTPS = env.bool("HTTPS", default=False)
# Over HTTPS names that browsers bind to this host, its every path and encrypted connections.
SESSION_COOKIE_NAME = "__Host-memoryhub" if HTTPS else "memoryhub"
CSRF_COOKIE_NAME = "__Host-csrf" if HTTPS else "memoryhub-csrf"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
# Lax and not Strict: whoever comes back from the identity provider brings the session that went there.
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
# Hosts below the hub's own; preloading is for the owner of the whole domain to decide.
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.bool("HSTS_INCLUDE_SUBDOMAINS", default=True)
SECURE_HSTS_PRELOAD = False
SILENCED_SYSTEM_CHECKS = [
    "security.W021",  # preloading, see above
    "security.W002",  # memoryhub.core.web sets X-Frame-Options, on files as well
]
SECURE_SSL_REDIRECT = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
# Scripts run by the nonce of their page alone: a file of ours that somebody else's markup names does not.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": [NONCE],
        "style-src": ["'self'"],
        "img-src": ["'self'"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        # Browsers follow a form's redirect only to where forms may go: single sign-on begins with a form.
        "form-action": ["'self'", *_origin(OIDC_SERVER_URL)],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
        "require-trusted-types-for": ["'script'"],
        "trusted-types": ["inert", "default"],
    }
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["memoryhub.api.authentication.KeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["memoryhub.api.authentication.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["memoryhub.api.rendering.Renderer"],
    "DEFAULT_PARSER_CLASSES": ["memoryhub.api.rendering.Parser"],
    "DEFAULT_SCHEMA_CLASS": "memoryhub.api.schema.Schema",
    "EXCEPTION_HANDLER": "memoryhub.api.errors.exception_handler",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "MemoryHub API",
    "VERSION": "1",
    "DESCRIPTION": (
        "Governed memory for Claude agents. Record the turns of a conversation, ask for the working memory before the "
        "next message, correct what is remembered. Everything that is given to a key is a recall with a receipt in "
        "the audit log."
    ),
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_PATCH": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "TAGS": [
        {"name": "Recording", "description": "Conversations, verbatim."},
        {"name": "Memory", "description": "What an agent is given, with a receipt."},
        {"name": "Facts", "description": "What is known, with every version of it."},
        {"name": "Review", "description": "What waits for a person before an agent is shown it."},
        {"name": "Extraction", "description": "How conversations are read for facts, and what was given up on."},
        {"name": "Subjects", "description": "The people remembered."},
        {"name": "Erasure", "description": "Removing a person's memory or a part of it, and proving it."},
        {
            "name": "Requests",
            "description": "What people ask for about their memory, legal holds, and who was shown what.",
        },
        {"name": "Tools", "description": "What a model may call by itself, bound to one person by a token."},
        {"name": "Tokens", "description": "Short-lived credentials that are good for one person."},
        {"name": "Audit", "description": "Who did what."},
    ],
    # Choices stay where they are used, instead of under names made up from their first field.
    "POSTPROCESSING_HOOKS": ["memoryhub.api.schema.without_enum_ids"],
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
}

Q_CLUSTER = {
    "name": "memoryhub",
    "orm": "default",
    "workers": env.int("QUEUE_WORKERS", default=1),
    "timeout": 600,
    "retry": 900,
    "max_attempts": 5,
    "poll": 0.5,
    "catch_up": False,
    "save_limit": 1000,
    "label": "Queue",
}

# Keys and limits.
THROTTLE_PER_MINUTE = env.int("THROTTLE_PER_MINUTE", default=12_000)
MAX_BODY_BYTES = env.int("MAX_BODY_BYTES", default=5_000_000)
MAX_TURN_CHARACTERS = env.int("MAX_TURN_CHARACTERS", default=500_000)
# Forms, which strangers may send as well. No page takes files.
DATA_UPLOAD_MAX_MEMORY_SIZE = min(1_000_000, MAX_BODY_BYTES)
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1_000
DATA_UPLOAD_MAX_NUMBER_FILES = 0

# Embeddings.
EMBEDDER = env.str("EMBEDDER", default="minilm")
EMBEDDER_URL = env.str("EMBEDDER_URL", default="")
EMBEDDER_API_KEY = env.str("EMBEDDER_API_KEY", default="")
EMBEDDER_MODEL = env.str("EMBEDDER_MODEL", default="")
EMBEDDER_DIMENSIONS = env.int("EMBEDDER_DIMENSIONS", default=0)
EMBEDDER_TIMEOUT = env.float("EMBEDDER_TIMEOUT", default=2.0)
EMBEDDER_THREADS = env.int("EMBEDDER_THREADS", default=1)
EMBEDDER_BREAKER_SECONDS = env.float("EMBEDDER_BREAKER_SECONDS", default=30.0)
if EMBEDDER not in ("minilm", "openai", "none"):
    sys.exit(f"EMBEDDER={EMBEDDER!r} is not known: use minilm, openai or none.")

# Memory. Without a word about it, Claude reads when there is a key, and the patterns when there is none.
EXTRACTOR = env.str("EXTRACTOR", default="claude" if env.str("ANTHROPIC_API_KEY", default="") else "patterns")
if EXTRACTOR not in ("none", "patterns", "claude"):
    sys.exit(f"EXTRACTOR={EXTRACTOR!r} is not known: use claude, patterns or none.")
# Claude, when EXTRACTOR=claude. The SDK's own variables (AWS_REGION, CLOUD_ML_REGION, …) say where the others are.
EXTRACT_PROVIDER = env.str("EXTRACT_PROVIDER", default="anthropic")
if EXTRACT_PROVIDER not in ("anthropic", "bedrock", "vertex"):
    sys.exit(f"EXTRACT_PROVIDER={EXTRACT_PROVIDER!r} is not known: use anthropic, bedrock or vertex.")
ANTHROPIC_API_KEY = env.str("ANTHROPIC_API_KEY", default="")
ANTHROPIC_BASE_URL = env.str("ANTHROPIC_BASE_URL", default="")
EXTRACT_MODEL = env.str("EXTRACT_MODEL", default="")
EXTRACT_PROMPT = env.str("EXTRACT_PROMPT", default="v1")
EXTRACT_TIMEOUT = env.float("EXTRACT_TIMEOUT", default=60.0)
EXTRACT_MAX_TOKENS = env.int("EXTRACT_MAX_TOKENS", default=8_000)
# Off for a model or platform that cannot be held to a schema: it is then asked for in words, and checked all the same.
EXTRACT_STRUCTURED = env.bool("EXTRACT_STRUCTURED", default=True)
EXTRACT_AFTER_IDLE_SECONDS = env.int("EXTRACT_AFTER_IDLE_SECONDS", default=900)
EXTRACT_EVERY_TURNS = env.int("EXTRACT_EVERY_TURNS", default=20)
EXTRACT_WINDOW_TURNS = env.int("EXTRACT_WINDOW_TURNS", default=40)
EXTRACT_WINDOW_CHARACTERS = env.int("EXTRACT_WINDOW_CHARACTERS", default=40_000)
EXTRACT_CONTEXT_TURNS = env.int("EXTRACT_CONTEXT_TURNS", default=4)
EXTRACTOR_WORKERS = env.int("EXTRACTOR_WORKERS", default=1)
EXTRACT_CONCURRENCY = env.int("EXTRACT_CONCURRENCY", default=8)
EXTRACT_MAX_ATTEMPTS = env.int("EXTRACT_MAX_ATTEMPTS", default=6)
EXTRACT_BACKOFF_SECONDS = env.float("EXTRACT_BACKOFF_SECONDS", default=5.0)
EXTRACT_BACKOFF_MAX_SECONDS = env.float("EXTRACT_BACKOFF_MAX_SECONDS", default=900.0)
EXTRACT_BREAKER_FAILURES = env.int("EXTRACT_BREAKER_FAILURES", default=5)
EXTRACT_BREAKER_SECONDS = env.float("EXTRACT_BREAKER_SECONDS", default=30.0)
EXTRACT_LEASE_SECONDS = env.float("EXTRACT_LEASE_SECONDS", default=300.0)
EXTRACT_BATCH = env.bool("EXTRACT_BATCH", default=False)
EXTRACT_BATCH_SIZE = env.int("EXTRACT_BATCH_SIZE", default=1_000)
EXTRACT_BATCH_GATHER_SECONDS = env.float("EXTRACT_BATCH_GATHER_SECONDS", default=60.0)
EXTRACT_BATCH_POLL_SECONDS = env.float("EXTRACT_BATCH_POLL_SECONDS", default=30.0)
# USD for a million tokens, since when; the longest name that a model's begins with counts. Batches cost half.
# https://platform.claude.com/docs/en/about-claude/pricing, as of 2026-11; cache writes for five minutes.
EXTRACT_PRICES: list[dict[str, Any]] = env.json(
    "EXTRACT_PRICES",
    default=[
        _price("claude-haiku-4-5", since="2025-10-15", input="1.00", output="5.00"),
        _price("claude-sonnet-4-5", since="2025-09-29", input="3.00", output="15.00"),
        _price("claude-opus-4-5", since="2025-11-24", input="5.00", output="25.00"),
    ],
)
SCORE_THRESHOLD = env.float("SCORE_THRESHOLD", default=0.25)

LOGGING_CONFIG = "logging.config.dictConfig"
# Lets other libraries' lines and the messages of exceptions through, which may quote content.
LOG_MESSAGES = env.bool("LOG_MESSAGES", default=False)
LOGGING = logging_config(level=env.str("LOG_LEVEL", default="INFO"), messages=LOG_MESSAGES)
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

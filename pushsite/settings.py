"""Settings of the site, read from environment variables.

Only DEBUG sites get a SECRET_KEY for free; every other default is safe in production.
"""

import os
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

from pushsite.layer import channel_layer

BASE_DIR = Path(__file__).resolve().parent.parent


def _flag(name: str, default: bool = False) -> bool:
    """Read a yes/no environment variable."""
    value = os.environ.get(name, "").strip().lower()
    if not value:
        return default
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name} must be 1 or 0, not {value!r}.")


def _split(value: str) -> list[str]:
    return [word.strip() for word in value.split(",") if word.strip()]


def _number(name: str, kind: type[int] | type[float], default: float = 0) -> float:
    """Read a number from an environment variable."""
    value = os.environ.get(name, "").strip()
    if not value:
        return default
    try:
        return kind(value)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise ImproperlyConfigured(f"{name} must be {wanted}, not {value!r}.") from None


def _networks(name: str) -> list[IPv4Network | IPv6Network]:
    """Read addresses and networks such as ``10.0.0.0/8`` from an environment variable."""
    try:
        return [ip_network(word) for word in _split(os.environ.get(name, ""))]
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}: {error}.") from None


def _secret_key(debug: bool) -> str:
    key = os.environ.get("SECRET_KEY", "")
    if key:
        return key
    if debug:
        return "django-insecure-only-for-debug-sites-on-this-machine"
    raise ImproperlyConfigured(
        "Set the environment variable SECRET_KEY to a long random string, or DEBUG=1 to develop."
    )


def _prefix() -> str:
    """Read SCRIPT_NAME, the path below which a proxy serves the site, such as ``/push``."""
    prefix = os.environ.get("SCRIPT_NAME", "").strip().rstrip("/")
    if prefix and not prefix.startswith("/"):
        raise ImproperlyConfigured(f"SCRIPT_NAME must start with a slash, not {prefix!r}.")
    return prefix


#: What libpq may wait for a server that has vanished without a word: seconds, the last one
#: milliseconds. Its own defaults are for ever and two hours.
_POSTGRES = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


def _database() -> dict[str, Any]:
    data_dir = Path(os.environ.get("DATA_DIR") or BASE_DIR)
    url = os.environ.get("DATABASE_URL") or f"sqlite:///{data_dir / 'db.sqlite3'}"
    try:
        parsed = dj_database_url.parse(url, conn_max_age=60, conn_health_checks=True)
    except ValueError:
        # The message of the library may quote the address, and with it a password.
        raise ImproperlyConfigured(
            "DATABASE_URL must look like postgres://user:password@host/name or sqlite:////path."
        ) from None
    database: dict[str, Any] = {**parsed}
    if database["ENGINE"] == "django.db.backends.postgresql":
        database["OPTIONS"] = {**_POSTGRES, **database.get("OPTIONS", {})}
    if database["ENGINE"] != "django.db.backends.sqlite3":
        return database
    # Without IMMEDIATE a reader that turns into a writer fails at once with "database is locked",
    # whatever the timeout says; WAL lets readers go on while one connection writes.
    database["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        **database.get("OPTIONS", {}),
    }
    return database


#: What there is to follow on a site under development.
_DEMO_TOPICS = "news,releases,tips"


def _notifications(debug: bool) -> dict[str, Any]:
    """Read what an operator may tune, each from ``NOTIFICATIONS_<name>``."""
    found: dict[str, Any] = {}
    for name in ("TOKEN_SECRET", "TOKEN_AUDIENCE", "TOPIC_PERMISSION"):
        found[name] = os.environ.get(f"NOTIFICATIONS_{name}", "")
    found["ALLOWED_ORIGINS"] = _split(os.environ.get("NOTIFICATIONS_ALLOWED_ORIGINS", ""))
    for name in (
        "COMMAND_BURST",
        "DATABASE_THREADS",
        "KEEP_DAYS",
        "MAX_CONNECTIONS_PER_ADDRESS",
        "MAX_CONNECTIONS_PER_USER",
        "WORKERS",
    ):
        found[name] = _number(f"NOTIFICATIONS_{name}", int)
    for name in (
        "CHECK_INTERVAL",
        "COMMAND_RATE",
        "FLUSH_INTERVAL",
        "LOCK_TIMEOUT",
        "PING_INTERVAL",
        "PONG_TIMEOUT",
        "RIGHTS_INTERVAL",
        "STATEMENT_TIMEOUT",
        "USER_WORK",
        "USER_WORK_BURST",
        "WORKER_TIMEOUT",
    ):
        found[name] = _number(f"NOTIFICATIONS_{name}", float)
    found = {name: value for name, value in found.items() if value}
    # These may be 0, or nothing.
    for name in ("DRAIN_SECONDS", "EXPIRED_CLOSE_DELAY"):
        if os.environ.get(f"NOTIFICATIONS_{name}", "").strip():
            found[name] = _number(f"NOTIFICATIONS_{name}", float)
    topics = _split(os.environ.get("NOTIFICATIONS_TOPICS", _DEMO_TOPICS if debug else ""))
    return {**found, "TOPICS": topics} if topics else found


DEBUG = _flag("DEBUG")
SECRET_KEY = _secret_key(DEBUG)
ALLOWED_HOSTS = _split(os.environ.get("ALLOWED_HOSTS") or "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = _split(os.environ.get("CSRF_TRUSTED_ORIGINS", ""))
FORCE_SCRIPT_NAME = _prefix() or None

INSTALLED_APPS = [
    # First, so that its runserver, which speaks ASGI, replaces Django's.
    "daphne",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "notifications.apps.NotificationsConfig",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "pushsite.static_files.StaticFilesMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "pushsite.urls"
ASGI_APPLICATION = "pushsite.asgi.application"

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
            ],
        },
    },
]

DATABASES = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CHANNEL_LAYERS = {"default": channel_layer(os.environ)}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{validator}"}
    for validator in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

# Relative, so that Django puts SCRIPT_NAME in front.
STATIC_URL = "static/"
STATIC_ROOT = Path(os.environ.get("STATIC_ROOT") or BASE_DIR / "staticfiles")
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        # Names with a hash need collectstatic, which a site under development never runs.
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "pushsite.static_files.HashedFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = DEBUG
WHITENOISE_AUTOREFRESH = DEBUG

# COOKIE_SECURE=0 is for a site that people reach by plain http, on a network of their own.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _flag("COOKIE_SECURE", default=not DEBUG)
# Nobody can log in by plain http when the cookies are only sent by https.
SECURE_SSL_REDIRECT = _flag("SECURE_SSL_REDIRECT", default=SESSION_COOKIE_SECURE)
# What asks for these comes from the machine itself or the network behind the proxy.
SECURE_REDIRECT_EXEMPT = [r"^health/$", r"^metrics$"]
# Browsers remember it for that long, and there is no way back: off unless asked for.
SECURE_HSTS_SECONDS = _number("SECURE_HSTS_SECONDS", int)
SECURE_HSTS_INCLUDE_SUBDOMAINS = _flag("SECURE_HSTS_INCLUDE_SUBDOMAINS")
SECURE_HSTS_PRELOAD = _flag("SECURE_HSTS_PRELOAD")
SECURE_REFERRER_POLICY = "same-origin"
# Only right behind a proxy that sets the header itself: anybody else could send it.
SECURE_PROXY_SSL_HEADER = (
    ("HTTP_X_FORWARDED_PROTO", "https") if _flag("TRUST_X_FORWARDED_PROTO") else None
)

# The longest websocket frame a client may send, in bytes, with daphne; serve sets uvicorn's.
DAPHNE_WEBSOCKET_MAX_FRAME_SIZE = 65_536
# Holds for what the server sends too: a reply beyond it is dropped, and the client waits for ever.
DAPHNE_WEBSOCKET_MAX_MESSAGE_SIZE = 16 * 1024 * 1024

# Besides staff, who may read /metrics: addresses and networks.
METRICS_ALLOW = _networks("METRICS_ALLOW")

NOTIFICATIONS = _notifications(DEBUG)

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"},
    },
    "filters": {"seldom": {"()": "notifications.logs.Seldom"}},
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "line"},
    },
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        "notifications": {"level": "INFO"},
        "channels_redis.pubsub": {"filters": ["seldom"]},
        # Nothing here for uvicorn: serve sets how much it says, and an entry would undo that.
    },
}

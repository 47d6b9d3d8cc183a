"""Settings of the site, read from environment variables.

SECRET_KEY has a default with DEBUG only. Every other default is safe in production.
"""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import django
from django.core.exceptions import ImproperlyConfigured

from pushsite.database import database
from pushsite.environment import flag, networks, number, split
from pushsite.layer import channel_layer
from pushsite.policies import middleware_for

BASE_DIR = Path(__file__).resolve().parent.parent


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


#: The topics of a development site.
_DEMO_TOPICS = "news,releases,tips"


def _notifications(debug: bool) -> dict[str, Any]:
    """Read the settings that an operator may tune from the variables ``NOTIFICATIONS_<name>``."""
    found: dict[str, Any] = {}
    for name in ("TOKEN_SECRET", "TOKEN_AUDIENCE", "TOPIC_PERMISSION"):
        found[name] = os.environ.get(f"NOTIFICATIONS_{name}", "")
    found["ALLOWED_ORIGINS"] = split(os.environ.get("NOTIFICATIONS_ALLOWED_ORIGINS", ""))
    for name in (
        "COMMAND_BURST",
        "DATABASE_THREADS",
        "KEEP_DAYS",
        "MAX_CONNECTIONS_PER_ADDRESS",
        "MAX_CONNECTIONS_PER_USER",
        "WORKERS",
    ):
        found[name] = number(f"NOTIFICATIONS_{name}", int)
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
        found[name] = number(f"NOTIFICATIONS_{name}", float)
    found = {name: value for name, value in found.items() if value}
    # 0 is a valid value of these, unlike of the others.
    for name in ("DRAIN_SECONDS", "EXPIRED_CLOSE_DELAY"):
        if os.environ.get(f"NOTIFICATIONS_{name}", "").strip():
            found[name] = number(f"NOTIFICATIONS_{name}", float)
    topics = split(os.environ.get("NOTIFICATIONS_TOPICS", _DEMO_TOPICS if debug else ""))
    return {**found, "TOPICS": topics} if topics else found


DEBUG = flag("DEBUG")
SECRET_KEY = _secret_key(DEBUG)
ALLOWED_HOSTS = split(os.environ.get("ALLOWED_HOSTS", "")) or [
    # Like Django's own default under DEBUG: browsers resolve names below localhost to this machine.
    ".localhost" if DEBUG else "localhost",
    "127.0.0.1",
    "[::1]",
]
CSRF_TRUSTED_ORIGINS = split(os.environ.get("CSRF_TRUSTED_ORIGINS", ""))
FORCE_SCRIPT_NAME = _prefix() or None

INSTALLED_APPS = [
    # The home page, the demo accounts, the base template. First, so that its runserver command,
    # which serves ASGI, replaces Django's.
    "pushsite",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "axes",
    "channels",
    "ninja",  # the files of the page that shows the REST API
    "notifications.apps.NotificationsConfig",
]

MIDDLEWARE = [
    # These two come first, so that the responses of other middleware carry their headers, too.
    middleware_for(django.VERSION),
    "pushsite.policies.PermissionsPolicyMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "pushsite.static_files.StaticFilesMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    # The language that was chosen at the foot of a page, else that of the browser.
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    # Replaces the response of the login view if the attempt is locked.
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "pushsite.urls"
ASGI_APPLICATION = "pushsite.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        # The site's own templates first, so that they override those of the app.
        "DIRS": [BASE_DIR / "pushsite" / "templates", BASE_DIR / "templates"],
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

DATABASES = {"default": database(BASE_DIR)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CHANNEL_LAYERS = {"default": channel_layer(os.environ)}

AUTHENTICATION_BACKENDS = [
    # Authenticates nobody, but rejects attempts that are locked.
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
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

# How many wrong passwords are allowed for one name from one address, and for how many minutes
# logins are locked after that; see pushsite/logins.py.
AXES_FAILURE_LIMIT = number("LOGIN_FAILURES", int, 10)
_PAUSE = number("LOGIN_PAUSE", int, 15)
if min(AXES_FAILURE_LIMIT, _PAUSE) < 1:
    raise ImproperlyConfigured("LOGIN_FAILURES and LOGIN_PAUSE must be at least 1.")
AXES_COOLOFF_TIME = timedelta(minutes=_PAUSE)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
# Further attempts do not prolong the lock: they may come from somebody else at the same address.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_CLIENT_IP_CALLABLE = "pushsite.logins.client_address"
AXES_USERNAME_CALLABLE = "pushsite.logins.user_name"
AXES_LOCKOUT_CALLABLE = "pushsite.logins.too_many"
# Mask the user name in stored form data, and log nothing: some type their password as the name.
AXES_SENSITIVE_PARAMETERS = ["username", "csrfmiddlewaretoken"]
AXES_VERBOSE = False
# Do not record successful logins.
AXES_DISABLE_ACCESS_LOG = True

LANGUAGE_CODE = "en"
# Those that the app and the site are translated into, by the names that their speakers use.
LANGUAGES = [
    ("ar", "العربية"),
    ("de", "Deutsch"),
    ("en", "English"),
    ("es", "Español"),
    ("fr", "Français"),
    ("zh-hans", "简体中文"),
]
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

# Relative, so that Django prefixes it with SCRIPT_NAME.
STATIC_URL = "static/"
STATIC_ROOT = Path(os.environ.get("STATIC_ROOT") or BASE_DIR / "staticfiles")
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        # Hashed names need collectstatic, which is not run on a development site.
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "pushsite.static_files.HashedFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = DEBUG
WHITENOISE_AUTOREFRESH = DEBUG

# COOKIE_SECURE=0 is for a site that is served over plain HTTP, in a private network.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = flag("COOKIE_SECURE", default=not DEBUG)
LANGUAGE_COOKIE_SECURE = SESSION_COOKIE_SECURE
LANGUAGE_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_SAMESITE = "Lax"
# With secure cookies, nobody can log in over plain HTTP.
SECURE_SSL_REDIRECT = flag("SECURE_SSL_REDIRECT", default=SESSION_COOKIE_SECURE)
# Requests for these come from the host itself or from the network behind the proxy.
SECURE_REDIRECT_EXEMPT = [r"^health/$", r"^metrics$"]
# Browsers remember HSTS for this long, and it cannot be undone: off by default.
SECURE_HSTS_SECONDS = number("SECURE_HSTS_SECONDS", int)
SECURE_HSTS_INCLUDE_SUBDOMAINS = flag("SECURE_HSTS_INCLUDE_SUBDOMAINS")
SECURE_HSTS_PRELOAD = flag("SECURE_HSTS_PRELOAD")
SECURE_REFERRER_POLICY = "same-origin"
# Only this site's own files; 'self' covers its websocket, too. Neither the pages nor the admin have
# inline scripts or styles.
SECURE_CSP = {
    "default-src": ["'self'"],
    "base-uri": ["'none'"],
    "form-action": ["'self'"],
    "frame-ancestors": ["'none'"],
    "object-src": ["'none'"],
}
# Features that no page of this site needs. They are denied to embedded pages, too.
DENIED_FEATURES = (
    "accelerometer",
    "camera",
    "display-capture",
    "geolocation",
    "gyroscope",
    "magnetometer",
    "microphone",
    "midi",
    "payment",
    "usb",
)
# Only safe behind a proxy that always sets the header itself; otherwise clients could forge it.
SECURE_PROXY_SSL_HEADER = (
    ("HTTP_X_FORWARDED_PROTO", "https") if flag("TRUST_X_FORWARDED_PROTO") else None
)

# The largest websocket frame that a client may send, in bytes, with daphne; serve sets uvicorn's.
DAPHNE_WEBSOCKET_MAX_FRAME_SIZE = 65_536
# In bytes, in both directions: daphne drops a larger reply, and the client waits for it forever.
DAPHNE_WEBSOCKET_MAX_MESSAGE_SIZE = 16 * 1024 * 1024

# Addresses and networks that may read /metrics, besides staff.
METRICS_ALLOW = networks("METRICS_ALLOW")

NOTIFICATIONS = {**_notifications(DEBUG), "TRANSPORTS": {"streams": "/streams/"}}

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "notifications.logs.Line",
            "format": "{asctime} {levelname} {name} {message}",
            "style": "{",
        },
    },
    "filters": {
        "seldom": {"()": "notifications.logs.Seldom"},
        "strangers": {"()": "notifications.logs.Strangers", "also": ["axes"]},
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "line",
            "filters": ["strangers"],
        },
    },
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        # Without Django's own handler, which would print all again under DEBUG, with tracebacks.
        "django": {"handlers": [], "level": "INFO"},
        "notifications": {"level": "INFO"},
        "channels_redis.pubsub": {"filters": ["seldom"]},
        # No entry for uvicorn: serve sets its log level, and an entry would override it.
    },
}

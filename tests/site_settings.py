"""The site's settings in the processes that tests start."""

from pushsite.settings import *  # noqa: F403

# The production hasher takes half a second of a processor for each login, on purpose.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

"""The site's settings with a policy of django-csp that lets only what carries the nonce run."""

from csp.constants import NONCE, NONE, SELF, STRICT_DYNAMIC

from pushsite.settings import INSTALLED_APPS, MIDDLEWARE
from tests.site_settings import *  # noqa: F403

INSTALLED_APPS = [*INSTALLED_APPS, "csp"]
# In place of the site's own policy.
MIDDLEWARE = ["csp.middleware.CSPMiddleware", *MIDDLEWARE[1:]]
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [NONCE, STRICT_DYNAMIC],
        "style-src": [NONCE],
        "connect-src": [SELF],
        "img-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "require-trusted-types-for": ["'script'"],
    },
}

"""Build the reusable app. Its metadata is in pyproject.toml.

Templates and static files are at the top of this repository, where the site finds them. In the
wheel they are inside the app, where the app directory loaders of other projects find them.
"""

from setuptools import find_packages, setup

ASSETS = {
    "notifications.static.notifications": "static/notifications",
    "notifications.templates.notifications": "templates/notifications",
    "notifications.templates.admin.notifications": "templates/admin/notifications",
}

setup(
    packages=[*find_packages(include=["notifications", "notifications.*"]), *ASSETS],
    package_dir=ASSETS,
    package_data={
        "notifications": ["locale/*/LC_MESSAGES/django.*"],
        **{package: ["**/*"] for package in ASSETS},
    },
)

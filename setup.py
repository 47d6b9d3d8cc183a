"""Build of the reusable app; everything else about it stands in pyproject.toml.

Templates and static files live at the top of this repository, where the site finds them. Inside
the wheel they lie in the app, where the app directory loaders of any other project find them.
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
    package_data={package: ["**/*"] for package in ASSETS},
)

"""The settings of the site under measurement: those of pushsite, and one view more."""

from pushsite.settings import *  # noqa: F403

ROOT_URLCONF = "benchmarks.host_urls"

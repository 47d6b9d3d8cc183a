"""The site's settings for workers with a faulty layer or a wrong clock."""

import os
from datetime import datetime, timedelta

from django.utils import timezone

from pushsite.settings import CHANNEL_LAYERS
from tests.site_settings import *  # noqa: F403

if os.environ.get("FAULTY_LAYER"):
    CHANNEL_LAYERS["default"]["BACKEND"] = "tests.faults.layer.FaultyLayer"

_ahead = timedelta(seconds=float(os.environ.get("CLOCK_AHEAD", "0")))
_now = timezone.now


def _wrong_now() -> datetime:
    return _now() + _ahead


if _ahead:
    timezone.now = _wrong_now

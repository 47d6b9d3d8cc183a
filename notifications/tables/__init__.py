"""The models. Other code imports them from :mod:`notifications.models`."""

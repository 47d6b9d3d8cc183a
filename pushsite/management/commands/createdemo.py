"""``manage.py createdemo``: create accounts for trying out the site."""

from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.management.base import BaseCommand, CommandError

from notifications import inbox
from notifications.conf import app_settings
from notifications.streams import names as stream_names

#: User name, which is the password too; whether a superuser; permissions of the app; purpose.
ACCOUNTS: tuple[tuple[str, bool, frozenset[str], str], ...] = (
    ("admin", True, frozenset(), "may do everything, also in /admin/"),
    ("writer", False, frozenset({"send_private", "send_broadcast"}), "may send notifications"),
    ("reader", False, frozenset(), "may only read"),
)


class Command(BaseCommand):
    help = "Creates the demo accounts admin, writer and reader. Only on a site with DEBUG on."
    requires_migrations_checks = True

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError(
                "createdemo makes accounts with known passwords, so it only works with DEBUG on."
            )
        for name, superuser, codenames, purpose in ACCOUNTS:
            _ensure_account(name, superuser, codenames)
            self.stdout.write(f"{name}/{name}: {purpose}")
        if slug := _follow_a_topic("reader"):
            self.stdout.write(f"reader follows the topic {slug}")


def _ensure_account(name: str, superuser: bool, codenames: frozenset[str]) -> None:
    user_model = get_user_model()
    user = user_model._default_manager.filter(**{user_model.USERNAME_FIELD: name}).first()
    if user is None:
        user = user_model(**{user_model.USERNAME_FIELD: name})
    user.is_superuser = user.is_staff = superuser
    user.is_active = True
    # Setting a password, even the same one, would end the sessions of the account.
    if not user.check_password(name):
        user.set_password(name)
    user.save()
    user.user_permissions.set(_permissions(codenames))


def _follow_a_topic(name: str) -> str:
    """Let an account follow the first of ``TOPICS`` that it may read, unless it follows one.

    Returns:
        The slug of the topic, "" if none was joined.
    """
    user_model = get_user_model()
    user = user_model._default_manager.get(**{user_model.USERNAME_FIELD: name})
    topics = {topic.channel: topic for topic in inbox.topics(user) if topic.is_readable}
    if not topics or any(topic.is_followed for topic in topics.values()):
        return ""
    slugs = [
        slug for slug in app_settings.declared_topics if stream_names.topic_stream(slug) in topics
    ]
    inbox.join(user, stream_names.topic_stream(slugs[0]))
    return slugs[0]


def _permissions(codenames: frozenset[str]) -> list[Permission]:
    found = Permission.objects.filter(
        content_type__app_label="notifications", codename__in=codenames
    )
    missing = codenames - {permission.codename for permission in found}
    if missing:
        raise CommandError(
            f"There is no permission {', '.join(sorted(missing))}: run manage.py migrate first."
        )
    return list(found)

"""What the code in the browser says to people, in the active language."""

import json
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from django.conf import settings
from django.utils.text import capfirst
from django.utils.translation import get_language, ngettext, trans_real
from django.utils.translation import gettext_lazy as _

from .models import Level

#: The names are those in static/notifications/texts.js, as are those of ``COUNTED``.
TEXTS = {
    "notifications": _("Notifications"),
    "none_unread": _("Notifications, none unread"),
    # Translators: the label of the bell, and the state of its connection.
    "state": _("%(label)s, %(state)s"),
    "offline": _("Offline – reconnecting"),
    "signed_out": _("Signed out – reload the page"),
    "ended": _("Disconnected – reload the page"),
    "region": _("New notifications"),
    "dismiss": _("Dismiss"),
    # Translators: the label of a button, such as “Archive: Your order has shipped”.
    "action": _("%(action)s: %(title)s"),
    # Translators: what the reader does with a topic.
    "following": _("Following"),
    "joined": _("You follow “%(topic)s” from now on."),
    "left": _("You no longer follow “%(topic)s”."),
}

#: Texts with a number. The browser fills it in.
COUNTED: dict[str, Callable[[int], str]] = {
    "unread": lambda count: ngettext(
        "Notifications, %(count)s unread", "Notifications, %(count)s unread", count
    ),
    "fresh": lambda count: ngettext(
        "%(count)s new notification", "%(count)s new notifications", count
    ),
    "more": lambda count: ngettext("+%(count)s more", "+%(count)s more", count),
}

#: From 100 on, the plural rules of all languages look at the last two digits. Some have a form of
#: its own for whole millions, which are not shown.
NUMBERS = range(200)

_cache: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


def client_texts() -> str:
    """Return all texts as JSON, with a language tag for ``Intl``."""
    if not settings.USE_I18N:
        return _encode()
    # A catalog that has been read again from changed files is another object.
    catalog = trans_real.catalog()
    if catalog not in _cache:
        _cache[catalog] = _encode()
    return _cache[catalog]


def _encode() -> str:
    levels = {value: capfirst(str(label)) for value, label in Level.choices}
    texts = {name: str(text) for name, text in TEXTS.items()}
    counted = {name: plural_forms(say) for name, say in COUNTED.items()}
    content = {"language": get_language() or "", **levels, **texts, **counted}
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def plural_forms(say: Callable[[int], str]) -> dict[str, Any]:
    """The plural forms, and ``starts``: from which number on which of them is right."""
    forms: list[str] = []
    starts: list[tuple[int, int]] = []
    for number in NUMBERS:
        form = say(number)
        if form not in forms:
            forms.append(form)
        index = forms.index(form)
        if not starts or starts[-1][1] != index:
            starts.append((number, index))
    return {"forms": forms, "starts": starts}

"""The management commands: usage, help and options, from their own parsers."""

from argparse import SUPPRESS, Action
from importlib import import_module
from pkgutil import iter_modules

from django.core.management import load_command_class
from django.core.management.base import BaseCommand

from notifications.management import commands

from .rst import code, escape, heading, item


def names() -> list[str]:
    """The commands of the app."""
    found = [module.name for module in iter_modules(commands.__path__)]
    return [name for name in found if not name.startswith("_")]


def write() -> str:
    return "".join(_write(name) for name in names())


def _write(name: str) -> str:
    command = load_command_class("notifications", name)
    parser = command.create_parser("manage.py", name)
    common = BaseCommand().create_parser("manage.py", name)
    known = {action.dest for action in common._actions}
    own = [action for action in parser._actions if action.dest not in known]
    module = import_module(f"{commands.__name__}.{name}")
    about = (command.help or module.__doc__ or "").strip()
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    for action in common._actions:
        for option in action.option_strings:
            usage = usage.replace(f" [{option}]", "").replace(f" [{option} {_value(action)}]", "")
    usage = usage.replace(f" [{' | '.join(['-v', '--verbosity'])}]", "")
    parts = [
        heading(name),
        f".. program:: {name}\n\n",
        escape(about) + "\n\n",
        *(_option(action) for action in own if action.help != SUPPRESS),
    ]
    return "".join(parts)


def _option(action: Action) -> str:
    value = _value(action)
    if action.option_strings:
        name = ", ".join(f"{option} {value}".strip() for option in action.option_strings)
    else:
        name = action.dest
    body = escape(action.help or "")
    if action.choices:
        body += f" One of {', '.join(code(str(choice)) for choice in action.choices)}."
    if action.default not in (None, False, "", SUPPRESS) and "default" not in body:
        body += f" Default: {code(str(action.default))}."
    return item("option", name, body.strip() or "\\")


def _value(action: Action) -> str:
    if action.nargs == 0:
        return ""
    if isinstance(action.metavar, str):
        return action.metavar
    if action.choices:
        return "{" + ",".join(str(choice) for choice in action.choices) + "}"
    return action.dest.upper()

"""Middleware that adds a library to the site which swaps pages without reloading them.

The environment variable ``SHELL`` selects the library, whose scripts come from ``node_modules``.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from django.http import HttpRequest, HttpResponse

MODULES = Path(__file__).resolve().parents[2] / "node_modules"

#: URL path below which the scripts are served.
ADDRESS = "/shell/"


class Shell(NamedTuple):
    """What a project adds to its base template to use a library."""

    scripts: tuple[str, ...]
    #: Attributes of ``<body>``.
    body: str = ""
    head: str = ""
    #: Attributes of the bell.
    bell: str = ""


TURBO = "@hotwired/turbo/dist/turbo.es2017-umd.js"
HTMX = "htmx.org/dist/htmx.js"
HTMX_4 = "htmx4/dist/htmx.js"

SHELLS = {
    "turbo": Shell((TURBO,)),
    "turbo-permanent": Shell((TURBO,), bell='id="bell" data-turbo-permanent'),
    "turbo-morph": Shell((TURBO,), head='<meta name="turbo-refresh-method" content="morph">'),
    "htmx": Shell((HTMX,), 'hx-boost="true"'),
    "htmx-morph": Shell(
        (HTMX, "idiomorph/dist/idiomorph-ext.js"),
        'hx-boost="true" hx-ext="morph" hx-swap="morph:innerHTML"',
    ),
    "htmx4": Shell((HTMX_4,), 'hx-boost:inherited="true"'),
    "htmx4-morph": Shell((HTMX_4,), 'hx-boost:inherited="true" hx-swap:inherited="innerMorph"'),
}


def add_shell(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable:
    shell = SHELLS[os.environ["SHELL"]]
    scripts = "".join(f'<script src="{ADDRESS}{name}"></script>' for name in shell.scripts)

    def respond(request: HttpRequest) -> HttpResponse:
        name = request.path.removeprefix(ADDRESS)
        if name in shell.scripts:
            return HttpResponse((MODULES / name).read_bytes(), content_type="text/javascript")
        response = get_response(request)
        # These libraries insert styles, which a site with such a policy would have to allow.
        del response["Content-Security-Policy"]
        if response.get("Content-Type", "").startswith("text/html"):
            page = response.content.decode()
            page = page.replace("</head>", f"{shell.head}{scripts}</head>")
            page = page.replace("<notification-bell ", f"<notification-bell {shell.bell} ")
            response.content = page.replace("<body>", f"<body {shell.body}>").encode()
            response["Content-Length"] = str(len(response.content))
        return response

    return respond

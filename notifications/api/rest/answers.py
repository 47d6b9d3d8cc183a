"""What the document says about the problems that an operation may answer with."""

from http import HTTPStatus
from typing import Any

from . import schemas
from .problems import CONTENT_TYPE


def problems(*statuses: int) -> dict[str, Any]:
    """Tell the document about problems of an operation, for ninja's ``openapi_extra``.

    They are not among ninja's responses: each process would build a validator for each of them
    when it starts, and none is ever used.

    Args:
        statuses: the HTTP statuses, besides those of all operations.
    """
    schema = {"schema": {"$ref": schemas.REFERENCE.format(model=schemas.ProblemDetails.__name__)}}
    return {
        "responses": {
            status: {"description": HTTPStatus(status).phrase, "content": {CONTENT_TYPE: schema}}
            for status in (401, 429, 503, *statuses)
        }
    }


def problems_of_post(*statuses: int) -> dict[str, Any]:
    """:func:`problems` of an operation that changes something."""
    return problems(403, 413, 415, *statuses)

"""Everything that goes wrong with a request, in one shape: problem details (RFC 9457)."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from ...metrics import DATABASE_ERRORS

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"

#: Mistakes that one answer lists at most: a list of a thousand ids can have a thousand.
MAX_MISTAKES = 20

#: Characters of the place of a mistake: the name of an unknown argument is a stranger's.
MAX_PLACE = 80

#: Seconds after which a request that the database has failed may be sent again.
RETRY_AFTER = 5


class Mistake(NamedTuple):
    """One argument that is wrong: its place, such as ``body.ids.0``, and what is wrong with it."""

    place: str
    message: str


class Problem(Exception):
    """A request that gets an error: raised anywhere while it is answered.

    Args:
        status: the HTTP status, 400 or above.
        detail: a sentence for the developer of the app.
        mistakes: the arguments that are wrong.
        headers: further headers of the response.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        mistakes: Sequence[Mistake] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail
        self.mistakes = mistakes
        self.headers = headers or {}


def respond(problem: Problem) -> HttpResponse:
    """Make the response that tells of a problem."""
    body: dict[str, Any] = {
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
    }
    if problem.mistakes:
        body["errors"] = [mistake._asdict() for mistake in problem.mistakes[:MAX_MISTAKES]]
    return JsonResponse(
        body, status=problem.status, content_type=CONTENT_TYPE, headers=dict(problem.headers)
    )


def not_logged_in(detail: str = "You are not logged in.", challenge: str = "Bearer") -> Problem:
    """The problem of a request that authenticates nobody; ``challenge`` as in RFC 6750."""
    return Problem(401, detail, headers={"WWW-Authenticate": challenge})


def wrong_argument(place: str, message: str) -> Problem:
    """The problem of a request with one wrong argument, which the types cannot show."""
    return _wrong_arguments([Mistake(place[:MAX_PLACE], message)])


def install(api: NinjaAPI) -> None:
    """Let an API answer every exception of a request as a problem; bugs are left to Django."""
    api.add_exception_handler(Problem, _answer_problem)
    api.add_exception_handler(ValidationError, _answer_validation)
    api.add_exception_handler(AuthenticationError, _answer_authentication)
    api.add_exception_handler(HttpError, _answer_http_error)
    api.add_exception_handler(Http404, _answer_404)
    api.add_exception_handler(RequestDataTooBig, _answer_too_big)
    api.add_exception_handler(OperationalError, _answer_database_error)
    api.add_exception_handler(InterfaceError, _answer_database_error)
    api.add_exception_handler(Exception, _raise)


def too_big() -> Problem:
    return Problem(413, "The body is too large.")


def _wrong_arguments(mistakes: Sequence[Mistake]) -> Problem:
    return Problem(422, "Some arguments are wrong; see errors.", mistakes)


def _answer_problem(request: HttpRequest, problem: Any) -> HttpResponse:
    return respond(problem)


def _answer_validation(request: HttpRequest, error: Any) -> HttpResponse:
    mistakes = [Mistake(_place(each["loc"]), each["msg"]) for each in error.errors[:MAX_MISTAKES]]
    return respond(_wrong_arguments(mistakes))


def _place(location: Iterable[Any]) -> str:
    """The place of a mistake without the name of the function's parameter, which is ours."""
    source, *names = location
    inner = names[1:] if source == "body" else names
    return ".".join(map(str, [source, *inner]))[:MAX_PLACE]


def _answer_authentication(request: HttpRequest, error: Any) -> HttpResponse:
    return respond(not_logged_in())


def _answer_http_error(request: HttpRequest, error: Any) -> HttpResponse:
    """Only the body that is no JSON gets here."""
    return respond(Problem(error.status_code, "The body is not valid JSON."))


def _answer_404(request: HttpRequest, error: Any) -> HttpResponse:
    return respond(Problem(404, "There is no such resource."))


def _answer_too_big(request: HttpRequest, error: Any) -> HttpResponse:
    return respond(too_big())


def _answer_database_error(request: HttpRequest, error: Any) -> HttpResponse:
    DATABASE_ERRORS.inc()
    logger.warning("A request to the REST API failed (%s).", type(error).__name__)
    headers = {"Retry-After": str(RETRY_AFTER)}
    return respond(Problem(503, "The database does not answer now. Try again.", headers=headers))


def _raise(request: HttpRequest, error: Any) -> HttpResponse:
    """Let Django answer, log and report a bug, as in any other view."""
    raise error

"""Static files, served by the site itself."""

from django.http import HttpRequest, HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile
from whitenoise.storage import CompressedManifestStaticFilesStorage


class StaticFilesMiddleware(WhiteNoiseMiddleware):
    """WhiteNoise that answers with whole files.

    WhiteNoise streams synchronously. Under ASGI, Django reads such a stream to its end before it
    sends anything, and warns about it.
    """

    @staticmethod
    def serve(static_file: StaticFile, request: HttpRequest) -> HttpResponse:
        streamed = WhiteNoiseMiddleware.serve(static_file, request)
        content = b"".join(streamed.streaming_content)
        streamed.close()
        return HttpResponse(content, status=streamed.status_code, headers=streamed.headers)


class HashedFilesStorage(CompressedManifestStaticFilesStorage):
    """Names every file by its content, also those that JavaScript modules import.

    Otherwise a browser could mix modules of two releases, or run one module twice. Django can
    follow imports too, but takes ``import("./x.js")`` in the comments that name types for code,
    and modules may well name each other's types in a circle.
    """

    patterns = (
        *CompressedManifestStaticFilesStorage.patterns,
        (
            "*.js",
            (
                (
                    r"""(?m)(?P<matched>^(?P<names>(?:import|export)\b[^"'();=]*)"""
                    r"""["'](?P<url>\.{1,2}/[^"']+)["'])""",
                    """%(names)s"%(url)s\"""",
                ),
            ),
        ),
    )

"""Static files, served by the site itself with WhiteNoise."""

from django.http import HttpRequest, HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile
from whitenoise.storage import CompressedManifestStaticFilesStorage


class StaticFilesMiddleware(WhiteNoiseMiddleware):
    """WhiteNoise with responses that do not stream.

    WhiteNoise streams files synchronously. Under ASGI, Django reads such a stream to its end before
    it sends anything, and issues a warning.
    """

    @staticmethod
    def serve(static_file: StaticFile, request: HttpRequest) -> HttpResponse:
        streamed = WhiteNoiseMiddleware.serve(static_file, request)
        content = b"".join(streamed.streaming_content)
        streamed.close()
        return HttpResponse(content, status=streamed.status_code, headers=streamed.headers)


class HashedFilesStorage(CompressedManifestStaticFilesStorage):
    """Add a content hash to every file name, also in the imports of JavaScript modules.

    Otherwise a browser could mix modules of two releases, or run one module twice. Django's own
    support for imports also matches ``import("./x.js")`` in JSDoc types, and fails if modules
    refer to each other's types in a circle.
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

"""Reverse proxies for tests: nginx with the configuration of deploy/, and one that holds back."""

import getpass
import grp
import os
import ssl
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.servers import START_TIMEOUT, STOP_TIMEOUT, free_port
from tests.sites import ROOT

SHIPPED = ROOT / "deploy" / "nginx"

#: Files of deploy/nginx/, and their paths below the directory of nginx's configuration.
NAMES = {
    "nginx.conf": "nginx.conf",
    "pushsite.conf": "conf.d/pushsite.conf",
    "pushsite-locations.conf": "pushsite-locations.conf",
}


def find_nginx() -> str:
    """Return the path of nginx; ``scripts/nginx`` installs it where that is possible.

    Raises:
        AssertionError: nginx is missing.
    """
    found = subprocess.run(
        [ROOT / "scripts" / "nginx"], capture_output=True, text=True, timeout=300, check=False
    )
    assert found.returncode == 0, found.stderr.splitlines()[-1]
    return found.stdout.strip()


class Nginx:
    """nginx with deploy/nginx/pushsite.conf, on free ports and with a self-signed certificate.

    Args:
        directory: holds its configuration, certificate and log.
        static_root: directory that it serves below /static/.
        ports: ports of the site's processes, four at most. The configuration names four processes;
            closed ports take the place of those that do not run.
        changes: texts to replace in the configuration. Each must occur in it.
    """

    def __init__(
        self,
        directory: Path,
        static_root: Path,
        ports: tuple[int, ...],
        changes: dict[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.http_port = free_port()
        self.https_port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        processes = [*ports, *(free_port() for _ in range(4 - len(ports)))]
        self._replace = {
            "user www-data;": f"user {getpass.getuser()} {grp.getgrgid(os.getgid()).gr_name};",
            "pid /run/nginx.pid;": f"pid {directory}/nginx.pid;",
            # A test writes no temporary files into system directories.
            "sendfile on;": "sendfile on; " + _temporary(directory),
            "/etc/nginx/": f"{directory}/",
            "/dev/stderr": f"{directory}/error.log",
            "/var/lib/pushsite/static/": f"{static_root}/",
            "listen 80 ": f"listen 127.0.0.1:{self.http_port} ",
            "listen 443 ": f"listen 127.0.0.1:{self.https_port} ",
            "server_name push.example;": "server_name localhost;",
            **{f":{8001 + place} ": f":{port} " for place, port in enumerate(processes)},
        }
        self._changes = changes or {}

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.https_port}"

    @property
    def socket_url(self) -> str:
        return f"wss://127.0.0.1:{self.https_port}/connection/websocket"

    @property
    def log(self) -> str:
        return (self.directory / "error.log").read_text()

    def start(self) -> Self:
        command = self._configure()
        self._process = subprocess.Popen(
            [*command, "-g", "daemon off;"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + START_TIMEOUT
        while not (self.directory / "nginx.pid").exists():
            assert self._process.poll() is None, f"nginx ended at once:\n{self.log}"
            assert time.monotonic() < deadline, f"nginx does not start:\n{self.log}"
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        self._process.wait(STOP_TIMEOUT)
        self._process = None

    def _configure(self) -> list[str]:
        """Write the configuration, check it with ``nginx -t``, and return nginx's command line."""
        (self.directory / "conf.d").mkdir(parents=True)
        (self.directory / "certificates").mkdir()
        write_certificate(self.directory / "certificates")
        (self.directory / "mime.types").write_text("types { text/javascript js; text/css css; }")
        texts = {name: (SHIPPED / name).read_text() for name in NAMES}
        for old, new in (self._replace | self._changes).items():
            assert any(old in text for text in texts.values()), f"{old!r} is not in {SHIPPED}"
            texts = {name: text.replace(old, new) for name, text in texts.items()}
        for name, text in texts.items():
            (self.directory / NAMES[name]).write_text(text)
        command = [find_nginx(), "-p", str(self.directory), "-e", f"{self.directory}/error.log"]
        command += ["-c", f"{self.directory}/nginx.conf"]
        checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
        return command


def _temporary(directory: Path) -> str:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return " ".join(f"{kind}_temp_path {directory}/{kind};" for kind in kinds)


def write_certificate(directory: Path) -> None:
    """Write a self-signed certificate for localhost."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (directory / "fullchain.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (directory / "privkey.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def trusting() -> ssl.SSLContext:
    """Return an SSL context that accepts any certificate, for clients of :class:`Nginx`.

    The clients read in one thread and write in another, which Python 3.11 lets happen at once on
    one connection of OpenSSL. With TLS 1.3, session tickets arrive while the request is written,
    and about every tenth request was lost.
    """
    context = ssl.create_default_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class HoldingProxy:
    """A proxy that passes no websocket, and holds each response back until it is complete.

    Args:
        port: the port of the server behind it, on this host.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        #: Whether responses are held back; else every part is passed on at once.
        self.holds = True
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._upstream: set[HTTPConnection] = set()
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self._upstream):
            connection.close()

    def pass_on(self, request: BaseHTTPRequestHandler) -> None:
        if request.headers.get("Upgrade"):
            request.send_error(502)
            return
        connection = HTTPConnection("127.0.0.1", self._target)
        self._upstream.add(connection)
        try:
            size = int(request.headers.get("Content-Length") or 0)
            body = request.rfile.read(size)
            connection.request(request.command, request.path, body, dict(request.headers))
            self._answer(request, connection.getresponse())
        except (OSError, AttributeError):  # http.client's error if close() has come meanwhile
            request.close_connection = True
        finally:
            self._upstream.discard(connection)
            connection.close()

    def _answer(self, request: BaseHTTPRequestHandler, response: HTTPResponse) -> None:
        request.close_connection = True
        held = response.read() if self.holds else b""
        request.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in ("transfer-encoding", "connection"):
                request.send_header(name, value)
        request.send_header("Connection", "close")
        request.end_headers()
        request.wfile.write(held)
        while not response.isclosed():
            request.wfile.write(response.read1())


def _handler(proxy: HoldingProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            proxy.pass_on(self)

        do_POST = do_OPTIONS = do_GET  # noqa: N815

        def log_message(self, *args: object) -> None:
            return

    return Handler

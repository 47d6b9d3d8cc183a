"""Proxies for tests: nginx with the configuration of deploy/, and a network without WebSockets."""

import asyncio
import getpass
import grp
import os
import re
import ssl
import subprocess
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.servers import ROOT, START_TIMEOUT, STOP_TIMEOUT, free_port

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
    """Return an SSL context that accepts any certificate, for clients of :class:`Nginx`."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Obstacle:
    """A network between browsers and a server that breaks WebSockets, and passes on the rest.

    Args:
        port: port of the server.
        swallows: let WebSockets open, and pass on nothing after that; otherwise refuse them.
        broken: the beginnings of further paths whose requests are refused.
    """

    def __init__(self, port: int, *, swallows: bool = False, broken: tuple[str, ...] = ()) -> None:
        self.is_open = False
        #: How many WebSockets were refused or swallowed.
        self.blocked = 0
        self.port = 0
        self._server_port = port
        self._swallows = swallows
        self._broken = broken
        self._pipes: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for pipe in self._pipes:
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pipes.add(task)
        # A client or server that goes away, or the end of the test.
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._pass_on(reader, writer)
        writer.close()
        self._pipes.discard(task)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split(b" ", 2)[1].decode()
        is_socket = b"upgrade: websocket" in head.lower() and not self.is_open
        self.blocked += is_socket
        if path.startswith(self._broken or "\n") or (is_socket and not self._swallows):
            writer.write(
                b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            return
        # One request a connection, so that each is looked at.
        if not is_socket and b"upgrade: websocket" not in head.lower():
            head = re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", head)
            head = head[:-2] + b"Connection: close\r\n\r\n"
        above, below = await asyncio.open_connection("127.0.0.1", self._server_port)
        try:
            below.write(head)
            if is_socket:
                writer.write(await above.readuntil(b"\r\n\r\n"))
                while await reader.read(65536):
                    pass
                return
            both = [
                asyncio.create_task(_copy(*pair)) for pair in ((reader, below), (above, writer))
            ]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for one in both:
                one.cancel()
            await asyncio.gather(*both, return_exceptions=True)
        finally:
            below.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()

"""nginx without TLS, as behind a load balancer that terminates TLS.

The shipped configuration, with TLS, has its own tests (test_nginx.py).
"""

import getpass
import grp
import os
import subprocess
import time
from pathlib import Path
from typing import Self

from tests.proxies import find_nginx
from tests.servers import START_TIMEOUT, STOP_TIMEOUT, free_port

CONFIGURATION = """
user {user};
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {directory}/client; proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    upstream workers {{ least_conn; {workers} }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://workers;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_connect_timeout 2s;
            proxy_read_timeout 90s;
        }}
    }}
}}
"""


class Balancer:
    """An nginx that sends each connection to the worker with the fewest connections.

    Args:
        directory: the directory for its files, which must not exist yet.
        ports: the ports of the workers.
    """

    def __init__(self, directory: Path, ports: list[int]) -> None:
        self.port = free_port()
        self._directory = directory
        directory.mkdir()
        workers = " ".join(f"server 127.0.0.1:{port} max_fails=0;" for port in ports)
        user = f"{getpass.getuser()} {grp.getgrgid(os.getgid()).gr_name}"
        text = CONFIGURATION.format(user=user, directory=directory, workers=workers, port=self.port)
        (directory / "nginx.conf").write_text(text)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        directory = self._directory
        self._process = subprocess.Popen(
            [
                *(find_nginx(), "-p", str(directory), "-c", f"{directory}/nginx.conf"),
                *("-e", f"{directory}/error.log", "-g", "daemon off;"),
            ],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_TIMEOUT
        while not (directory / "nginx.pid").exists():
            assert self._process.poll() is None, (directory / "error.log").read_text()
            assert time.monotonic() < deadline, "nginx does not start"
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(STOP_TIMEOUT)

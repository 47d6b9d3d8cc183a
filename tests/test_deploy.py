"""The files of deploy/ hold together, and a site with their settings is fit for production."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from notifications.conf import Settings
from notifications.management.commands import serve
from notifications.paths import DEFAULTS
from tests.sites import ROOT, manage, site_environment

DEPLOY = ROOT / "deploy"

#: What an operator fills in.
SECRETS = {
    "SECRET_KEY": "Zx8-of-tests-alone-0123456789-abcdefghijklmnopqrstuvw",
    "NOTIFICATIONS_TOKEN_SECRET": "another-one-of-tests-alone-0123456789-abcdef",
    "POSTGRES_PASSWORD": "hunter2",
    "DATABASE_URL": "postgres://push:hunter2@db.example/push",
}

#: Seconds in which a server that is told to stop is done: the drain, then positions.
STOPPING = Settings().DRAIN_SECONDS + serve.STOP_TIMEOUT


def example() -> dict[str, str]:
    """The variables of environment.example, some of them empty."""
    lines = (DEPLOY / "environment.example").read_text().splitlines()
    pairs = [line.split("=", 1) for line in lines if line and not line.startswith("#")]
    return {pair[0]: pair[1] for pair in pairs}


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return found


def filled(text: str) -> str:
    """What compose makes of ``${NAME:-default}`` and ``${NAME:?complaint}``."""
    known = {**example(), **SECRETS}
    return re.sub(r"\$\{(\w+):[-?][^}]*\}", lambda found: known[found[1]], text)


def production(tmp_path: Path, kind: str) -> dict[str, str]:
    """The environment of the site as systemd or compose.yaml start it."""
    env = {**site_environment(tmp_path), **example(), **SECRETS}
    del env["COOKIE_SECURE"]
    del env["DATA_DIR"]
    if kind == "compose":
        own = compose()["services"]["web"]["environment"]
        env |= {name: filled(value) for name, value in own.items()}
        env["PROMETHEUS_MULTIPROC_DIR"] = str(tmp_path)
    return env


def check(env: dict[str, str], *args: str) -> subprocess.CompletedProcess[str]:
    return manage("check", "--deploy", "--fail-level", "WARNING", *args, env=env, check=False)


@pytest.mark.parametrize("kind", ["systemd", "compose"])
def test_the_shipped_environment_passes_every_check(tmp_path: Path, kind: str) -> None:
    result = check(production(tmp_path, kind))
    assert result.returncode == 0, result.stderr
    assert "no issues" in result.stdout


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"REDIS_URL": ""}, "notifications.W002"),
        ({"REDIS_URL": "", "NOTIFICATIONS_WORKERS": ""}, "notifications.W002"),
        ({"DATABASE_URL": ""}, "notifications.W003"),
        ({"NOTIFICATIONS_TOKEN_SECRET": ""}, "notifications.W004"),
        ({"NOTIFICATIONS_TOKEN_SECRET": "short"}, "notifications.W001"),
        ({"NOTIFICATIONS_TOKEN_SECRET": SECRETS["SECRET_KEY"]}, "notifications.W005"),
        ({"NOTIFICATIONS_ALLOWED_ORIGINS": "http://localhost:3000"}, "notifications.W006"),
        ({"NOTIFICATIONS_ALLOWED_ORIGINS": "app.example"}, "notifications.W007"),
        ({"ALLOWED_HOSTS": "*"}, "notifications.W008"),
        ({"DEBUG": "1"}, "security.W018"),
        ({"COOKIE_SECURE": "0"}, "security.W012"),
        ({"SECURE_SSL_REDIRECT": "0"}, "security.W008"),
        ({"SECURE_HSTS_SECONDS": ""}, "security.W004"),
        ({"SECRET_KEY": "short"}, "security.W009"),
    ],
)
def test_each_mistake_is_found(tmp_path: Path, variables: dict[str, str], complaint: str) -> None:
    result = check({**production(tmp_path, "systemd"), **variables})
    assert result.returncode == 1
    assert f"({complaint})" in result.stderr
    assert "hunter2" not in result.stderr


def test_demo_accounts_of_a_real_database_are_found(tmp_path: Path) -> None:
    env = {**production(tmp_path, "systemd"), "DATABASE_URL": "", "DATA_DIR": str(tmp_path)}
    env["NOTIFICATIONS_WORKERS"] = "1"
    manage("migrate", "--verbosity", "0", env=env)
    assert check(env, "--database", "default").returncode == 0
    manage("createdemo", env={**env, "DEBUG": "1"})
    assert "(notifications.W009)" in check(env, "--database", "default").stderr


def test_nothing_secret_is_shipped() -> None:
    empty = {name for name, value in example().items() if not value}
    assert empty >= set(SECRETS)
    ignored = subprocess.run(
        ["git", "check-ignore", "deploy/.env", "deploy/certificates/privkey.pem"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert len(ignored.stdout.splitlines()) == 2
    text = (DEPLOY / "compose.yaml").read_text()
    assert re.findall(r"(?:PASSWORD|SECRET)\w*: (.*)", text) == [
        "${POSTGRES_PASSWORD:?fill in .env}"
    ]
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    assert not re.search(r"^(?:ARG|ENV) .*(?:KEY|SECRET|PASSWORD)", dockerfile, re.MULTILINE)


def test_services_are_watched_pinned_and_given_time_to_stop() -> None:
    services = compose()["services"]
    assert set(services) == {"db", "redis", "migrate", "web", "prune", "nginx"}
    for name, service in services.items():
        assert "healthcheck" in service, name
        if "build" not in service:
            assert re.fullmatch(r"[a-z]+:\d+(\.\d+)?", service["image"]), name
    for name in ("db", "redis", "web", "nginx", "prune"):
        assert "stop_grace_period" in services[name], name
    assert seconds(services["web"]["stop_grace_period"]) > STOPPING
    published = [name for name, service in services.items() if "ports" in service]
    assert published == ["nginx"]


def test_the_containers_fit_together() -> None:
    services = compose()["services"]
    address = services["nginx"]["networks"]["proxied"]["ipv4_address"]
    assert f"--forwarded-allow-ips={address}" in services["web"]["command"]
    assert f"--workers={example()['NOTIFICATIONS_WORKERS']}" in [
        filled(word) for word in services["web"]["command"]
    ]
    for volume in services["nginx"]["volumes"]:
        source = volume.split(":")[0]
        if source.startswith("./nginx/"):
            assert (DEPLOY / source).is_file(), source
    upstream = (DEPLOY / "nginx" / "compose.conf").read_text()
    assert "server web:8000 " in upstream
    assert "--port=8000" in services["web"]["command"]


def test_the_image_is_pinned_and_runs_as_nobody_in_particular() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    words = [line.split() for line in lines if line and line[0].isupper()]
    assert [word[1] for word in words if word[0] == "FROM"] == ["python:3.13-slim"]
    assert ["USER", "pushsite"] in words
    assert ["STOPSIGNAL", "SIGTERM"] in words
    copied = {name for word in words if word[0] == "COPY" for name in word[1:-1]}
    assert all((ROOT / name).exists() for name in copied)
    kept = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert {line[1:] for line in kept if line.startswith("!")} == copied
    # Settings that name a directory of the image.
    assert {"pushsite", "static", "templates", "notifications", "manage.py"} <= copied


def test_the_timeouts_of_nginx_are_above_the_heartbeat() -> None:
    text = (DEPLOY / "nginx" / "pushsite-locations.conf").read_text()
    locations = re.findall(r"(?ms)^location ~ \^/connection/.*?^}", text)
    assert len(locations) == 2
    times = re.findall(r"proxy_(?:read|send)_timeout (\d+)s;", "".join(locations))
    assert len(times) == 4
    heartbeat = Settings().PING_INTERVAL + Settings().PONG_TIMEOUT
    assert all(int(time) > heartbeat for time in times)


def test_nginx_knows_the_paths_of_sockets_and_of_open_responses() -> None:
    text = (DEPLOY / "nginx" / "pushsite-locations.conf").read_text()
    for words, names in (
        ("proxy_set_header Upgrade", {"websocket", "uni_websocket"}),
        ("proxy_buffering off", {"http_stream", "sse", "uni_sse", "uni_http_stream"}),
    ):
        (pattern,) = re.findall(rf"(?ms)^location ~ (\S+) {{(?:(?!^}}).)*{words}", text)
        found = {name for name, path in DEFAULTS.items() if path and re.search(pattern, path)}
        assert found == names


@pytest.mark.parametrize("name", ["pushsite.conf", "compose.conf"])
def test_sockets_go_to_whoever_has_fewest(name: str) -> None:
    upstream = (DEPLOY / "nginx" / name).read_text().split("}")[0]
    # Without a zone each worker process of nginx would count its own sockets only.
    assert re.search(r"^\s+zone ", upstream, re.MULTILINE)
    assert re.search(r"^\s+least_conn;", upstream, re.MULTILINE)


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign, assignment]
    parser.read(DEPLOY / "systemd" / name)
    return parser


def test_systemd_starts_what_exists_and_waits_for_the_drain() -> None:
    service = unit("pushsite@.service")["Service"]
    assert service["ExecStart"].startswith("/opt/pushsite/.venv/bin/python manage.py serve ")
    assert "--port %i" in service["ExecStart"]
    assert "--forwarded-allow-ips 127.0.0.1" in service["ExecStart"]
    assert int(service["TimeoutStopSec"]) > STOPPING
    assert int(service["LimitNOFILE"]) > 100_000
    pruning = unit("pushsite-prune.service")["Service"]
    assert pruning["ExecStart"].endswith(" manage.py prune_notifications")
    assert "OnCalendar" in unit("pushsite-prune.timer")["Timer"]
    ports = re.findall(r"127\.0\.0\.1:(\d+) ", (DEPLOY / "nginx" / "pushsite.conf").read_text())
    assert len(ports) == int(example()["NOTIFICATIONS_WORKERS"])


def test_systemd_has_nothing_to_object_to(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        for path in (DEPLOY / "systemd").iterdir():
            assert "Unit" in unit(path.name), path
        return
    for path in (DEPLOY / "systemd").iterdir():
        # The program is there on the host that it is installed on.
        text = path.read_text().replace("/opt/pushsite/.venv/bin/python", "/bin/true")
        (tmp_path / path.name).write_text(text)
    result = subprocess.run(
        ["systemd-analyze", "verify", *sorted(map(str, tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in result.stderr.splitlines() if "pushsite" in line]
    assert ours == []


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def test_both_configurations_of_nginx_bound_logins_alike() -> None:
    bounds = [
        re.search(r"(?ms)^map .*^limit_req_zone .*?;", (DEPLOY / "nginx" / name).read_text())
        for name in ("pushsite.conf", "compose.conf")
    ]
    assert bounds[0] is not None
    assert bounds[1] is not None
    assert bounds[0][0] == bounds[1][0]

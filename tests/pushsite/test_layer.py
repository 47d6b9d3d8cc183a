"""The channel layer that the environment names."""

from typing import Any

import pytest
from channels_redis.utils import create_pool, decode_hosts
from django.core.exceptions import ImproperlyConfigured
from redis.asyncio.sentinel import SentinelConnectionPool

from pushsite.layer import channel_layer


def hosts(**environment: str) -> list[Any]:
    found = channel_layer(environment)
    assert found["BACKEND"] == "channels_redis.pubsub.RedisPubSubChannelLayer"
    config: list[Any] = found["CONFIG"]["hosts"]
    return config


def test_without_redis_the_layer_is_in_memory() -> None:
    for environment in ({}, {"REDIS_URL": ""}, {"REDIS_URL": " "}):
        found = channel_layer(environment)
        assert found["BACKEND"] == "channels.layers.InMemoryChannelLayer"


def test_one_url_is_one_shard() -> None:
    assert hosts(REDIS_URL="redis://:secret@a.example:6380/2") == [
        "redis://:secret@a.example:6380/2"
    ]


def test_several_urls_are_shards_in_their_order() -> None:
    urls = "redis://b.example:6379/0, rediss://a.example, unix:///run/redis.sock,"
    assert hosts(REDIS_URL=urls) == [
        "redis://b.example:6379/0",
        "rediss://a.example",
        "unix:///run/redis.sock",
    ]


def test_every_master_is_found_by_all_sentinels() -> None:
    found = hosts(
        REDIS_URL="redis://push:p%40ss@s1.example:26380/3,redis://s2.example",
        REDIS_SENTINEL_MASTERS="one, two",
        REDIS_SENTINEL_PASSWORD="sesame",
    )
    sentinels = [("s1.example", 26380), ("s2.example", 26379)]
    common = {"sentinels": sentinels, "sentinel_kwargs": {"password": "sesame"}, "db": 3}
    login = {"username": "push", "password": "p@ss"}
    assert found == [
        {"master_name": "one", **common, **login},
        {"master_name": "two", **common, **login},
    ]


def test_channels_redis_understands_the_sentinels() -> None:
    urls = "redis://:secret@s1.example,redis://s2.example"
    (host,) = decode_hosts(hosts(REDIS_URL=urls, REDIS_SENTINEL_MASTERS="push"))
    pool = create_pool(host)
    assert isinstance(pool, SentinelConnectionPool)
    assert pool.service_name == "push"
    assert pool.connection_kwargs["password"] == "secret"
    assert len(pool.sentinel_manager.sentinels) == 2


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"REDIS_URL": "a.example:6379"}, "REDIS_URL must look like"),
        ({"REDIS_URL": "redis://"}, "REDIS_URL must look like"),
        ({"REDIS_URL": "redis://:hunter2@a.example:port"}, "REDIS_URL must look like"),
        ({"REDIS_URL": "redis://:hun,ter2@a.example"}, "a comma in a password"),
        ({"REDIS_SENTINEL_MASTERS": "push"}, "needs the addresses of the sentinels"),
        (
            {"REDIS_URL": "rediss://a.example", "REDIS_SENTINEL_MASTERS": "push"},
            "reached by redis:// addresses only",
        ),
        (
            {"REDIS_URL": "redis://:hunter2@a.example/x", "REDIS_SENTINEL_MASTERS": "push"},
            "must be the number of a database",
        ),
    ],
)
def test_invalid_variables_raise_without_quoting_a_password(
    environment: dict[str, str], words: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=words) as raised:
        channel_layer(environment)
    assert "ter2" not in str(raised.value)

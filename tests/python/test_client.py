"""Scenarios through redis-py, as an application would use the server."""

import os
import sys

import pytest
import redis

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "scripts"))
from harness.servers import Server, redoubt_command


@pytest.fixture(scope="module")
def server():
    with Server("python", redoubt_command()) as server:
        yield server


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def client(request, server):
    client = redis.Redis(port=server.port, protocol=request.param, decode_responses=True)
    client.flushall()
    yield client
    client.close()


def test_values_of_each_type_come_back(client):
    assert client.set("string", "value") and client.get("string") == "value"
    client.rpush("list", "a", "b")
    assert client.lrange("list", 0, -1) == ["a", "b"]
    client.hset("hash", mapping={"a": 1, "b": 2})
    assert client.hgetall("hash") == {"a": "1", "b": "2"}
    client.sadd("set", "a", "b")
    assert set(client.smembers("set")) == {"a", "b"}
    client.zadd("zset", {"a": 1.5})
    assert client.zscore("zset", "a") == 1.5


def test_a_transaction_with_watch_fails_when_the_key_changes(client):
    with client.pipeline() as pipe:
        pipe.watch("key")
        client.set("key", "other")
        pipe.multi()
        pipe.set("key", "mine")
        with pytest.raises(redis.WatchError):
            pipe.execute()
    assert client.get("key") == "other"


def test_a_subscriber_gets_what_is_published(client):
    subscriber = client.pubsub(ignore_subscribe_messages=False)
    subscriber.subscribe("channel")
    assert subscriber.get_message(timeout=10)["type"] == "subscribe"
    assert client.publish("channel", "hello") == 1
    assert subscriber.get_message(timeout=10)["data"] == "hello"
    subscriber.close()

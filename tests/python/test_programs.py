"""Programs written for Redis, unchanged: task queues and a web framework's cache and sessions."""

import operator
import os
import sys
import threading

import pytest
import redis

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "scripts"))
from harness.servers import Server, redoubt_command

LIMIT_S = 120


@pytest.fixture(scope="module")
def server():
    with Server("programs", redoubt_command()) as server:
        yield server


@pytest.fixture
def connection(server):
    connection = redis.Redis(port=server.port)
    connection.flushall()
    yield connection
    connection.close()


def test_celery_runs_tasks_retries_and_a_chord_with_redis_as_broker_and_result_store(
    server, connection
):
    from celery import Celery, chord, group
    from celery.contrib.testing.worker import start_worker

    url = "redis://127.0.0.1:%d" % server.port
    app = Celery("programs", broker=url + "/1", backend=url + "/2", set_as_current=False)
    app.conf.update(broker_connection_retry_on_startup=True, worker_hijack_root_logger=False)
    tries = []

    @app.task(name="add")
    def add(a, b):
        return a + b

    @app.task(name="total")
    def total(numbers):
        return sum(numbers)

    @app.task(name="second_time", bind=True, max_retries=3)
    def second_time(self):
        tries.append(self.request.retries)
        if self.request.retries == 0:
            raise self.retry(countdown=0.01)
        return "done"

    @app.task(name="broken")
    def broken():
        raise ValueError("no use")

    with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=LIMIT_S):
        assert add.delay(2, 3).get(timeout=LIMIT_S) == 5
        sums = group(add.s(n, n) for n in range(10))().get(timeout=LIMIT_S)
        assert sums == [2 * n for n in range(10)]
        squares = chord(add.s(n, 1) for n in range(10))(total.s())
        assert squares.get(timeout=LIMIT_S) == sum(n + 1 for n in range(10))
        assert second_time.delay().get(timeout=LIMIT_S) == "done"
        assert tries == [0, 1]
        with pytest.raises(ValueError, match="no use"):
            broken.delay().get(timeout=LIMIT_S)
        assert add.apply_async((1, 1), countdown=0.01).get(timeout=LIMIT_S) == 2
    left = redis.Redis(port=server.port, db=1)
    assert left.llen("celery") == 0 and left.hlen("unacked") == 0


def test_rq_runs_jobs_in_order_of_their_dependencies_and_keeps_what_failed(connection):
    from rq import Queue, Retry, SimpleWorker
    from rq.job import Job, JobStatus
    from rq.registry import DeferredJobRegistry, FailedJobRegistry, FinishedJobRegistry

    high, low = (Queue(name, connection=connection) for name in ("high", "low"))
    first = low.enqueue(operator.add, 2, 3)
    urgent = high.enqueue(operator.mul, 6, 7)
    after = low.enqueue(operator.neg, 1, depends_on=first)
    broken = low.enqueue(operator.truediv, 1, 0, retry=Retry(max=2))
    assert low.count == 2 and DeferredJobRegistry(queue=low).get_job_ids() == [after.id]

    # The worker puts signal handlers in place, so it has to be on the main thread.
    assert threading.current_thread() is threading.main_thread()
    worker = SimpleWorker([high, low], connection=connection)
    worker.work(burst=True, logging_level="ERROR")

    assert first.return_value() == 5 and urgent.return_value() == 42
    assert after.return_value() == -1
    for job in (first, urgent, after):
        job.refresh()
    assert urgent.ended_at <= first.started_at and first.ended_at <= after.started_at
    assert FinishedJobRegistry(queue=low).count == 2
    assert FailedJobRegistry(queue=low).get_job_ids() == [broken.id]
    failed = Job.fetch(broken.id, connection=connection)
    assert failed.get_status() == JobStatus.FAILED and failed.retries_left == 0
    assert "ZeroDivisionError" in failed.latest_result().exc_string
    assert low.count == 0 and not connection.smembers("rq:workers")


@pytest.fixture(scope="module")
def django(server):
    """Django with its caches and sessions in the server."""
    from django.conf import settings

    settings.configure(
        CACHES={
            "default": {
                "BACKEND": "django_redis.cache.RedisCache",
                "LOCATION": "redis://127.0.0.1:%d/3" % server.port,
                "OPTIONS": {"CLIENT_CLASS": "django_redis.client.DefaultClient"},
            }
        },
        SESSION_ENGINE="django.contrib.sessions.backends.cache",
        SECRET_KEY="for a test",
        USE_TZ=True,
    )
    import django

    django.setup()
    return django


def test_django_redis_caches_values_counts_and_deletes_by_pattern(django, connection):
    from django.core.cache import cache

    cache.set("user:1", {"name": "Ada", "roles": ["admin"]}, timeout=600)
    assert cache.get("user:1") == {"name": "Ada", "roles": ["admin"]}
    assert 0 < cache.ttl("user:1") <= 600
    assert not cache.add("user:1", "taken") and cache.add("user:2", "new")
    assert cache.set("user:2", "newer", nx=True) is not True and cache.get("user:2") == "new"
    cache.set_many({"page:%d" % n: "text" for n in range(50)})
    assert len(cache.get_many(["page:%d" % n for n in range(60)])) == 50
    assert sorted(cache.iter_keys("user:*")) == ["user:1", "user:2"]
    assert cache.delete_pattern("page:*") == 50 and cache.get("page:3", "none") == "none"
    cache.set("counter", 1)
    assert cache.incr("counter", 9) == 10 and cache.decr("counter") == 9
    assert cache.persist("user:1") and cache.ttl("user:1") is None
    assert cache.touch("user:1", 5) and cache.ttl("user:1") <= 5
    with cache.lock("job", timeout=600):
        assert not cache.lock("job").acquire(blocking=False)
    assert cache.lock("job", timeout=600).acquire(blocking=False)
    cache.clear()
    assert cache.get("user:2") is None


def test_django_sessions_live_in_the_server(django, connection):
    from django.contrib.sessions.backends.cache import SessionStore

    session = SessionStore()
    session["cart"] = ["book", "pen"]
    session.set_expiry(600)
    session.save()
    again = SessionStore(session_key=session.session_key)
    assert again["cart"] == ["book", "pen"] and again.exists(session.session_key)
    old_key = again.session_key
    again.cycle_key()
    assert again.session_key != old_key and not SessionStore().exists(old_key)
    again.flush()
    assert SessionStore(session_key=again.session_key or old_key).get("cart") is None

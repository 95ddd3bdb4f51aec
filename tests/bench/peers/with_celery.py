"""celery: `celery -A tests.bench.peers.with_celery worker --concurrency 1`."""

from __future__ import annotations

from celery import Celery

from tests.bench.peers.line import QUEUE, noop, produce, redis_url

app = Celery(broker=redis_url())
app.conf.task_default_queue = QUEUE
app.conf.broker_connection_retry_on_startup = True


@app.task(name="task")  # type: ignore[untyped-decorator]
def task(queued_at: float) -> None:
    noop(queued_at)


if __name__ == "__main__":
    produce(task.delay)

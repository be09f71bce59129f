"""The Celery app: ``celery -A aseagi_tasks worker|beat|flower``. Its configuration is ``celeryconfig.py``."""

from __future__ import annotations

import atexit
import json
import logging
import os
import signal
import threading
import time
from typing import Any

from celery import Celery
from celery.signals import (
    celeryd_after_setup,
    heartbeat_sent,
    task_postrun,
    task_prerun,
    task_received,
    worker_ready,
    worker_shutting_down,
)

from aseagi_tasks import leases
from aseagi_tasks.fleet.marks import Marks
from aseagi_tasks.settings import settings

log = logging.getLogger(__name__)

app = Celery("aseagi")
app.config_from_object("celeryconfig")


class _Leaving:
    """How this worker leaves: what it runs may finish for ``drain_s``; the rest is handed back, and it is gone.

    Celery's own soft shutdown sleeps through its whole time-out even when the last task ends at once; a warm shutdown
    followed by a cold one (SIGQUIT: end the processes, give the messages back) leaves as soon as nothing runs. Threads
    cannot be ended: their process gives back for them and exits.
    """

    def __init__(self, worker: Any, node: str) -> None:
        self.worker, self.node, self.pid = worker, node, os.getpid()
        self.has_threads = "thread" in worker.pool_cls.__module__
        atexit.register(self._give_leases_back)

    def start(self) -> None:
        for seconds, act in ((0, self._exit if self.has_threads else self._end_processes), (_COLD_S, self._exit)):
            timer = threading.Timer(settings().drain_s + seconds, act)
            timer.daemon = True
            timer.start()

    def _end_processes(self) -> None:
        os.kill(self.pid, signal.SIGQUIT)

    def _exit(self) -> None:
        log.warning("leaving in the middle of work, which is handed back")
        try:
            self._give_leases_back()
            consumer = self.worker.consumer.task_consumer
            if consumer is not None:
                consumer.channel.qos.restore_unacked()
        except Exception:
            log.exception("what was not handed back will be missed, and done again")
        finally:
            os._exit(0)

    def _give_leases_back(self) -> None:
        if os.getpid() == self.pid:
            leases.give_back_all(self.node)


#: How long processes may take to end once they are told to.
_COLD_S = 8
_leaving: _Leaving | None = None


@worker_shutting_down.connect
def _drain_in_time(how: str, **_kwargs: Any) -> None:
    """SIGTERM, and the first Ctrl-C."""
    if how == "Warm" and _leaving is not None:
        _leaving.start()


@celeryd_after_setup.connect
def _take_over(sender: str, instance: Any, **_kwargs: Any) -> None:
    """A worker that starts says that its forerunner of the same name is dead.

    On one machine each queue has one worker: what that had taken is its own again at once.
    """
    global _leaving
    _leaving = _Leaving(instance, sender)
    leases.node_started(sender)
    if settings().broker_url is None:
        give_back_unacknowledged(set(instance.app.amqp.queues.consume_from))


@celeryd_after_setup.connect
def _know_only_what_is_read(instance: Any, **_kwargs: Any) -> None:
    """Whoever may put messages into ``cpu`` must not have the control plane's tasks run by who reads that."""
    if "control" not in instance.app.amqp.queues.consume_from:
        for name in [name for name in instance.app.tasks if name.startswith("aseagi.control.")]:
            instance.app.tasks.unregister(name)


@worker_ready.connect
def _declare_all_queues(sender: Any, **_kwargs: Any) -> None:
    """Rented machines may not: the control plane's worker says which queue is where, for all."""
    if "control" in sender.app.amqp.queues.consume_from:
        with sender.app.connection_for_write() as connection:
            for queue in sender.app.amqp.queues.values():
                queue(connection.default_channel).declare()


@task_prerun.connect
def _mark_begin(task_id: str, **_kwargs: Any) -> None:
    """On a rented machine the watchdog wants to know what runs."""
    if (folder := settings().instance_folder) is not None:
        Marks(folder).begin(task_id)


@task_postrun.connect
def _mark_end(task_id: str, **_kwargs: Any) -> None:
    if (folder := settings().instance_folder) is not None:
        Marks(folder).end(task_id)


@worker_ready.connect
@heartbeat_sent.connect
def _mark_consuming(sender: Any, **_kwargs: Any) -> None:
    """Both come from the loop that takes messages, so a stuck or cut off worker falls silent."""
    if (folder := settings().instance_folder) is not None:
        node = sender.eventer if hasattr(sender, "eventer") else sender
        Marks(folder).consumes(node.hostname.partition("@")[0])


@worker_ready.connect
def _be_heard(sender: Any, **_kwargs: Any) -> None:
    """On a rented machine: say every two seconds, and when it gets more, what this node has in hand."""
    instance_id, more = settings().instance, threading.Event()
    if instance_id is not None:
        task_received.connect(lambda **_kwargs: more.set(), weak=False)
        arguments = (sender, instance_id, more)
        threading.Thread(target=_say_what_is_in_hand, args=arguments, name="presence", daemon=True).start()


def _say_what_is_in_hand(consumer: Any, instance_id: str, more: threading.Event) -> None:
    from celery.worker import state
    from redis.exceptions import RedisError

    from aseagi_tasks import services
    from aseagi_tasks.fleet.worker import BEAT_S, Node, Presence

    presence, last_busy = Presence(services.redis()), time.monotonic()
    while True:
        busy = len(state.requests) + _tasks_that_wait(consumer)
        if busy:
            last_busy = time.monotonic()
        queues = getattr(consumer.task_consumer, "queues", ())
        try:
            node = Node(busy, bool(queues), time.monotonic() - last_busy)
            presence.beat(instance_id, consumer.hostname, node)
        except RedisError:
            pass  # the broker is away; the consumer sees to that
        time.sleep(0.02)  # what comes together is said together
        more.wait(BEAT_S)
        more.clear()


def _tasks_that_wait(consumer: Any) -> int:
    """How many this node took and begins later: tasks that are tried again."""
    entries = list(consumer.timer.schedule.queue)
    return sum(hasattr(waiting.entry.args[0], "delivery_info") for waiting in entries if waiting.entry.args)


def give_back_unacknowledged(queues: set[str]) -> None:
    """Put every message that a dead worker had taken from these queues back, at once.

    Only where no other worker reads them. Otherwise they would wait for the visibility time-out.
    """
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        with channel.conn_or_acquire() as client:
            for tag, entry in client.hgetall(channel.unacked_key).items():
                _message, _exchange, routing_key = json.loads(entry)
                if routing_key in queues:
                    channel.qos.restore_by_tag(tag, client)

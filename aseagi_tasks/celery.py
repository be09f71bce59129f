"""The Celery app: ``celery -A aseagi_tasks worker|beat|flower``. Its configuration is ``celeryconfig.py``."""

from __future__ import annotations

import atexit
import json
import logging
import os
import signal
import threading
from typing import Any

from celery import Celery
from celery.signals import celeryd_after_setup, worker_shutting_down

from aseagi_tasks import leases
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

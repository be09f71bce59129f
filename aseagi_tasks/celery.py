"""The Celery app: ``celery -A aseagi_tasks worker|beat|flower``. Its configuration is ``celeryconfig.py``."""

from __future__ import annotations

import json
import os
import signal
import threading
from typing import Any

from celery import Celery
from celery.signals import (
    celeryd_after_setup,
    heartbeat_sent,
    task_postrun,
    task_prerun,
    worker_ready,
    worker_shutting_down,
)

from aseagi_tasks.fleet.marks import Marks
from aseagi_tasks.settings import settings

app = Celery("aseagi")
app.config_from_object("celeryconfig")


@worker_shutting_down.connect
def _drain_in_time(how: str, **_kwargs: Any) -> None:
    """SIGTERM lets running stages finish for ``drain_s``, then hands back what is left.

    Celery's own soft shutdown sleeps through its whole time-out even when the last task ends at once; a warm
    shutdown followed by a cold one (SIGQUIT: cancel, give the messages back) leaves as soon as nothing runs.
    """
    if how == "Warm":
        timer = threading.Timer(settings().drain_s, os.kill, (os.getpid(), signal.SIGQUIT))
        timer.daemon = True
        timer.start()


@celeryd_after_setup.connect
def _take_over(instance: Any, **_kwargs: Any) -> None:
    """On one machine each queue has one worker: what it had taken when it died is its own again when it starts."""
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

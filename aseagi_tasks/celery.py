"""The Celery app: ``celery -A aseagi_tasks worker|beat|flower``. Its configuration is ``celeryconfig.py``."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from celery import Celery
from celery.signals import worker_shutting_down

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


def give_back_unacknowledged() -> None:
    """Put every message that a dead worker had taken back into its queue, at once.

    Only for a stack that is just starting: no worker runs, so nobody is at work on them. Otherwise they would wait
    for the visibility time-out.
    """
    options = {**app.conf.broker_transport_options, "visibility_timeout": 0}
    with app.connection_for_write(transport_options=options) as connection:
        connection.default_channel.qos.restore_visible(num=1_000_000)

"""Celery's configuration: worker, beat, Flower and every caller read this file (``celery -A aseagi_tasks …``).

What decided these values is in DESIGN.md under "Why does Celery run with these settings?".
"""

from kombu import Exchange, Queue

from aseagi_tasks.fleet.broker_access import WORKER_QUEUES, unacknowledged_keys
from aseagi_tasks.settings import settings
from beat_schedule import BEAT_SCHEDULE

_settings = settings()

# -- addresses: one Redis is broker and result store
broker_url = result_backend = _settings.broker
broker_connection_retry_on_startup = True
#: A stage that outlives this runs twice. Longest stage: ``task_time_limit``; long documents are read in slices.
_VISIBILITY_TIMEOUT_S = 3600
#: Priorities 0-8: three kinds of request times three parts of the chain (``tasks.message_priority``); 0 goes first.
PRIORITIES = list(range(9))
_HEALTH_CHECK_S = max(1, int(_settings.broker_timeout_s * 0.8))
broker_transport_options = {
    "visibility_timeout": _VISIBILITY_TIMEOUT_S,
    "priority_steps": PRIORITIES,
    "queue_order_strategy": "priority",
    # a half-open connection (tunnel frozen, host paused) is noticed only with these
    "socket_timeout": _settings.broker_timeout_s,
    "socket_connect_timeout": min(10, _settings.broker_timeout_s),
    "socket_keepalive": True,
    "health_check_interval": _HEALTH_CHECK_S,
}
if _settings.instance is not None:
    # what a rented machine has taken lies in keys of its own: it can neither read nor acknowledge another's
    broker_transport_options |= unacknowledged_keys(_settings.instance)
    control_queue_expires = None  # kombu keeps queues that expire with a script, and a rented machine runs none
result_backend_transport_options = {"visibility_timeout": _VISIBILITY_TIMEOUT_S}
redis_socket_timeout = _settings.broker_timeout_s
redis_socket_keepalive = not broker_url.startswith("redis+socket:")  # the client refuses it on a unix socket
redis_retry_on_timeout = False
redis_backend_health_check_interval = _HEALTH_CHECK_S

# -- messages: JSON, UTC, ids only
task_serializer = result_serializer = event_serializer = "json"
accept_content = ["json"]
enable_utc = True
timezone = "UTC"
#: A job may end while Redis restarts: its result is kept back for some 10 s, since somebody may wait for it.
result_backend_always_retry, result_backend_max_retries = True, 10
task_ignore_result = True  # only `process` and what it ends in keep a result
task_store_errors_even_if_ignored = True  # so that a failing stage reaches process.delay(…).get()
result_expires = 86_400
result_extended = False

# -- queues: every task is routed by name; a task without a route would wait in a queue nobody reads
task_default_queue = "control"
task_create_missing_queues = False
# a rented machine may not say what leads to which queue: the control plane has declared them
_DECLARED = {"no_declare": _settings.instance is not None}
task_queues = [Queue(name, Exchange(name, **_DECLARED), name, **_DECLARED) for name in (*WORKER_QUEUES, "control")]
task_routes = {
    "aseagi.process": {"queue": "cpu"},
    "aseagi.fetch": {"queue": "cpu"},
    "aseagi.rasterize": {"queue": "cpu"},
    "aseagi.ocr": {"queue": "gpu"},
    "aseagi.analyze": {"queue": "claude"},
    "aseagi.upload": {"queue": "cpu"},
    "aseagi.record": {"queue": "cpu"},
    "aseagi.control.*": {"queue": "control"},
}

# -- delivery: acknowledged when done, given back when the worker died
task_acks_late = True
task_reject_on_worker_lost = True
task_acks_on_failure_or_timeout = True
worker_prefetch_multiplier = 1
worker_cancel_long_running_tasks_on_connection_loss = False
#: A stage that sends the next one waits so long for Redis to come back (13 s); then the reaper does it.
task_publish_retry_policy = {"max_retries": 10, "interval_start": 0.1, "interval_step": 0.3, "interval_max": 2}
worker_max_memory_per_child = _settings.worker_memory_mb * 1_000  # KiB
#: The outermost limits; a stage's own, by its pages, are in leases.py.
task_soft_time_limit = 2_400
task_time_limit = 2_700

# -- what Flower sees
worker_send_task_events = True
task_send_sent_event = False  # twice the messages; Flower learns of a task when a worker takes it
task_track_started = False
worker_hijack_root_logger = True
worker_redirect_stdouts_level = "INFO"

imports = ("aseagi_tasks.tasks", "aseagi_tasks.control")
beat_schedule = BEAT_SCHEDULE

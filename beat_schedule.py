"""When beat calls what. Task name and time, nothing else; what the tasks do is in ``aseagi_tasks/control.py``."""

from celery.schedules import crontab

BEAT_SCHEDULE = {
    "backup": {"task": "aseagi.control.backup", "schedule": crontab(hour=3, minute=50)},
    "heartbeat": {"task": "aseagi.control.heartbeat", "schedule": 20.0},
    "give-back-overdue": {"task": "aseagi.control.give_back_overdue", "schedule": 300.0},
    "clean": {"task": "aseagi.control.clean", "schedule": crontab(hour=4, minute=20)},
}

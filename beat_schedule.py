"""When beat calls what. Task name and time, nothing else; what the tasks do is in ``aseagi_tasks/control.py``."""

from celery.schedules import crontab

BEAT_SCHEDULE = {
    "autoscale": {"task": "aseagi.control.autoscale", "schedule": 15.0},
    "reconcile": {"task": "aseagi.control.reconcile", "schedule": crontab(hour=4, minute=40)},
    "backup": {"task": "aseagi.control.backup", "schedule": crontab(hour=3, minute=50)},
    "clean": {"task": "aseagi.control.clean", "schedule": crontab(hour=4, minute=20)},
}

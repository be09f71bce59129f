"""When beat calls what. Task name and time, nothing else; what the tasks do is in ``aseagi_tasks/control.py``."""

from datetime import datetime
from zoneinfo import ZoneInfo

from celery.schedules import crontab, schedstate, schedule

from aseagi_tasks.settings import settings


class Every(schedule):
    """Celery's interval, which a clock that is put back would silence until it has caught up."""

    def is_due(self, last_run_at: datetime) -> schedstate:
        """A last run in the future was before the clock was set."""
        if self.maybe_make_aware(last_run_at) > self.now():
            return schedstate(is_due=True, next=self.seconds)
        return super().is_due(last_run_at)


class OnTheWall(crontab):
    """A time of day in ASEAGI_TIME_ZONE; the others are UTC."""

    def now(self) -> datetime:
        """Now, there."""
        return super().now().astimezone(ZoneInfo(settings().time_zone))

    def maybe_make_aware(self, dt: datetime, naive_as_utc: bool = True) -> datetime:
        """The same moment, there: the hour that counts is that of the clock on the wall."""
        return super().maybe_make_aware(dt, naive_as_utc).astimezone(ZoneInfo(settings().time_zone))


_NIGHT = settings().nightly_at.split(":")
BEAT_SCHEDULE = {
    "reap": {"task": "aseagi.control.reap", "schedule": Every(settings().reap_every_s)},
    "autoscale": {"task": "aseagi.control.autoscale", "schedule": Every(15)},
    "reconcile": {"task": "aseagi.control.reconcile", "schedule": crontab(hour=4, minute=40)},
    "backup": {"task": "aseagi.control.backup", "schedule": crontab(hour=3, minute=50)},
    "restore-drill": {
        "task": "aseagi.control.restore_drill",
        "schedule": crontab(day_of_month=2, hour=5, minute=10),
    },
    "batches": {"task": "aseagi.control.batches", "schedule": Every(60)},
    "notices": {"task": "aseagi.control.notices", "schedule": Every(15)},
    "reprocess": {"task": "aseagi.control.reprocess", "schedule": Every(30)},
    "bulk": {"task": "aseagi.control.bulk", "schedule": Every(15)},
    "nightly": {"task": "aseagi.control.nightly", "schedule": OnTheWall(hour=int(_NIGHT[0]), minute=int(_NIGHT[1]))},
    "certificate": {"task": "aseagi.control.certificate", "schedule": crontab(hour=0, minute=20)},
    "weekly-report": {
        "task": "aseagi.control.weekly_report",
        "schedule": OnTheWall(day_of_week="mon", hour=6, minute=30),
    },
    "heartbeat": {"task": "aseagi.control.heartbeat", "schedule": Every(settings().instance_silent_s / 30)},
    "give-back-overdue": {"task": "aseagi.control.give_back_overdue", "schedule": Every(300)},
    "clean": {"task": "aseagi.control.clean", "schedule": crontab(hour=4, minute=20)},
}

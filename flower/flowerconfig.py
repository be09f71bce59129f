"""Flower's own settings, from ours: ``celery -A aseagi_tasks flower --conf=flower/flowerconfig.py``."""

from aseagi_tasks.doors.monitor.access import credentials
from aseagi_tasks.doors.monitor.mount import mount
from aseagi_tasks.settings import settings

_settings = settings()

address = _settings.monitor_address
port = _settings.monitor_port
# Flower's default is a file named `flower` in the working folder, which is this folder's name
db = str(_settings.home / "run" / "flower")
persistent = False
# what the monitor remembers of tasks and workers; jobs' history is in the records
max_tasks = 10_000
max_workers = 500
purge_offline_workers = 300
natural_time = False
# what a proxy says of the scheme makes the addresses that the API names; nothing is allowed for it
xheaders = True
tasks_columns = "name,uuid,state,args,result,received,started,runtime,worker"
url_prefix = _settings.monitor_url_prefix or ""
basic_auth = list(credentials(_settings))

mount(_settings)

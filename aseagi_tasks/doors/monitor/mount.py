"""Puts our pages into Flower: addresses before its own, templates beside its own, the guard in front of all.

These are Flower's internals (2.2): its minor version is pinned, and tests walk every address.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flower.urls
from flower.views.auth import LoginHandler, LogoutHandler
from tornado.template import Loader, Template
from tornado.web import RequestHandler, StaticFileHandler, url

from aseagi_tasks.doors.monitor import api, api_bulk, bulk, costs, documents, instances, jobs, live
from aseagi_tasks.doors.monitor.access import guarded
from aseagi_tasks.settings import Settings

OURS = Path(__file__).parents[3] / "flower"
TABS = (("documents", "Documents"), ("jobs", "Jobs"), ("bulk", "Bulk"), ("costs", "Costs"), ("instances", "Instances"))


class BesideFlower(Loader):
    """Templates of ours by their names, Flower's by theirs, with our tabs in its bar and our styles behind its own."""

    def __init__(self) -> None:
        super().__init__(flower.urls.settings["template_path"])

    def _create_template(self, name: str) -> Template:
        ours = OURS / "templates" / name
        text = (ours if ours.is_file() else Path(self.root) / name).read_text()
        if name == "navbar.html":
            text = text.replace('<ul class="app-nav navbar-nav">', f'<ul class="app-nav navbar-nav">{_tabs()}', 1)
            text = text.replace("<span>Flower</span>", "<span>ASEAGI</span>", 1)
        elif name == "base.html":
            sheet = '<link href="{{ reverse_url("ours", "monitor.css") }}" rel="stylesheet">'
            script = '<script src="{{ reverse_url("ours", "monitor.js") }}" defer></script>'
            text = text.replace("</head>", f"{sheet}{script}</head>", 1)
        text = text.replace("<script", '<script nonce="{{ handler.nonce }}"')
        return Template(text, name=name, loader=self)


def _tabs() -> str:
    return "".join(
        f"""<li class="nav-item"><a class="nav-link{{% if active_tab == '{name}' %}} active{{% end %}}"
        href="{{{{ reverse_url('{name}') }}}}"
        {{% if active_tab == '{name}' %}}aria-current="page"{{% end %}}>{title}</a></li>
        """
        for name, title in TABS
    )


def mount(conf: Settings) -> None:
    """Rebuild Flower's table of addresses; called at the end of ``flowerconfig.py``."""
    ours: list[Any] = [
        url(r"/", documents.Home, name="home"),
        url(r"", documents.Home),  # below a path: the path itself
        *documents.ROUTES,
        *jobs.ROUTES,
        *bulk.ROUTES,
        *costs.ROUTES,
        *instances.ROUTES,
        *live.ROUTES,
        *api_bulk.ROUTES,
        *api.ROUTES,
        url(r"/ours/(.*)", StaticFileHandler, {"path": str(OURS / "static")}, name="ours"),
    ]
    prefix = f"/{conf.monitor_url_prefix.strip('/')}" if conf.monitor_url_prefix else ""
    flowers = [rule for rule in flower.urls.handlers if _handler_of(rule) not in _LEFT_OUT]
    flower.urls.handlers[:] = [_guard(rule) for rule in (*ours, *flowers)]
    flower.urls.settings["template_loader"] = BesideFlower()
    flower.urls.settings["static_handler_class"] = guarded(StaticFileHandler)
    if prefix:
        flower.urls.settings["static_url_prefix"] = f"{prefix}/static/"


#: Static files' address is added by Tornado itself, with the handler that the settings name. Signing in by OAuth makes
#: handlers that no guard stands in front of; here people come with name and password.
_LEFT_OUT = (StaticFileHandler, LoginHandler, LogoutHandler)


def _handler_of(rule: Any) -> Any:
    return rule.handler_class if isinstance(rule, url) else rule[1]


def _guard(rule: Any) -> Any:
    if isinstance(rule, url):
        return url(rule.regex.pattern, guarded(rule.handler_class), rule.kwargs, rule.name)
    pattern, handler, *rest = rule
    handler_class: type[RequestHandler] = guarded(handler)
    return url(pattern, handler_class, *rest)

"""How gunicorn serves the hub: `gunicorn --config python:memoryhub.webserver memoryhub.wsgi`."""

import threading
from typing import Any

from django.conf import settings

from memoryhub.core.degradation import Unavailable
from memoryhub.core.embedding import service
from memoryhub.core.impatience import ImpatientWorker

workers = settings.WEB_WORKERS
worker_class = ImpatientWorker
threads = settings.WEB_THREADS
# Loaded once, shared by the workers; nothing connects or starts threads before they fork.
preload_app = True
control_socket_disable = True
# Longer than clients keep an idle connection, so that they close it and no request meets a closing one.
keepalive = 75
timeout = 60
graceful_timeout = 1
# An id of 256 characters may take 3,000 when it is percent-encoded, and an address may hold two.
limit_request_line = 8190
# Half a megabyte of headers at most; browsers and proxies send a few kilobytes in twenty lines.
limit_request_fields = 64
limit_request_field_size = 8190
loglevel = "warning"


def post_worker_init(worker: Any) -> None:
    """Load the model beside the first requests, so that none of them waits for it from its beginning."""
    threading.Thread(target=_warm_up, daemon=True).start()


def _warm_up() -> None:
    try:
        service.warm_up()
    except Unavailable:
        # /readyz says so, and the first search tries again.
        return

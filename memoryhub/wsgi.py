"""The WSGI application, served by gunicorn under `manage.py up`."""

import gc
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memoryhub.settings")
application = get_wsgi_application()

# What is loaded by now stays: the collector need not look at it again with every full round, and workers that fork from
# here go on sharing its memory.
gc.collect()
gc.freeze()

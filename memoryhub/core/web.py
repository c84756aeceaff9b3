"""What every answer to a browser or an agent carries, and how large a request may be."""

from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest
from django.http.response import HttpResponseBase

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": settings.SECURE_REFERRER_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Origin-Agent-Cluster": "?1",
    "X-Permitted-Cross-Domain-Policies": "none",
    # What pages may ask the browser for: passkeys, and copying a key that is shown once.
    "Permissions-Policy": ", ".join(
        [
            *("clipboard-write=(self)", "publickey-credentials-create=(self)", "publickey-credentials-get=(self)"),
            *(
                f"{feature}=()"
                for feature in (
                    "accelerometer",
                    "autoplay",
                    "browsing-topics",
                    "camera",
                    "clipboard-read",
                    "display-capture",
                    "encrypted-media",
                    "fullscreen",
                    "geolocation",
                    "gyroscope",
                    "hid",
                    "idle-detection",
                    "local-fonts",
                    "magnetometer",
                    "microphone",
                    "midi",
                    "payment",
                    "picture-in-picture",
                    "screen-wake-lock",
                    "serial",
                    "storage-access",
                    "usb",
                    "xr-spatial-tracking",
                )
            ),
        ]
    ),
    # Files of the hub's own say how long they may be kept; nothing else may be kept at all.
    "Cache-Control": "no-store",
}

GetResponse = Callable[[HttpRequest], HttpResponseBase]


class HeadersMiddleware:
    """The headers that hold for pages, the API, files, redirects and errors alike. Stands outside all that answers."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response


class BodyLimitMiddleware:
    """Refuses a body that is announced as larger than MAX_BODY_BYTES, with 413, before a byte of it is read.

    What is sent without a length is not read at all (see `ApiView.body`), and what is longer than it was announced is
    read no further.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        announced = request.META.get("CONTENT_LENGTH") or "0"
        if announced.isdecimal() and int(announced) > settings.MAX_BODY_BYTES:
            raise RequestDataTooBig(f"The body is larger than {settings.MAX_BODY_BYTES} bytes.")
        return self.get_response(request)


def csp_nonce(request: HttpRequest) -> dict[str, object]:
    """Template context: what a script's element has to carry to be run. Drawn anew for each page that asks for it."""
    return {"csp_nonce": getattr(request, "csp_nonce", "")}

"""An identity provider on this machine: OpenID Connect over real HTTP, with tokens that can be wrong on purpose."""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT_ID, CLIENT_SECRET = "memoryhub", "a secret of the provider"


@dataclass
class Provider:
    """What the provider says of the one person who signs in there; `id_token` changes claims of the token."""

    url: str = ""
    claims: dict[str, Any] = field(
        default_factory=lambda: {"sub": "nora-1", "email": "nora@example.org", "email_verified": True}
    )
    id_token: dict[str, Any] = field(default_factory=dict)
    token_status: int = 200
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    seen: list[dict[str, str]] = field(default_factory=list)
    """The parameters of every request to `/token`."""


class Handler(BaseHTTPRequestHandler):
    server: "Server"

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        provider = self.server.provider
        if path == "/.well-known/openid-configuration":
            self.answer(
                {
                    "issuer": provider.url,
                    "authorization_endpoint": f"{provider.url}/authorize",
                    "token_endpoint": f"{provider.url}/token",
                    "userinfo_endpoint": f"{provider.url}/userinfo",
                    "jwks_uri": f"{provider.url}/jwks",
                    "token_endpoint_auth_methods_supported": ["client_secret_post"],
                }
            )
        elif path == "/authorize":
            code = secrets.token_urlsafe(16)
            provider.codes[code] = asked
            self.send_response(302)
            back = urlencode({"code": code, "state": asked["state"]})
            self.send_header("Location", f"{asked['redirect_uri']}?{back}")
            self.end_headers()
        elif path == "/userinfo":
            self.answer(provider.claims)
        elif path == "/jwks":
            public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(provider.key.public_key()))
            self.answer({"keys": [public | {"kid": "one", "use": "sig"}]})
        else:
            self.answer({}, 404)

    def do_POST(self) -> None:
        provider = self.server.provider
        sent = {
            name: values[0]
            for name, values in parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()).items()
        }
        provider.seen.append(sent)
        asked = provider.codes.pop(sent.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(sent.get("code_verifier", "").encode()).digest())
        if (
            asked is None
            or sent.get("client_secret") != CLIENT_SECRET
            or asked.get("code_challenge") != challenge.decode().rstrip("=")
        ):
            self.answer({"error": "invalid_grant"}, 400)
            return
        now = int(time.time())
        claims = {"iss": provider.url, "aud": CLIENT_ID, "iat": now, "exp": now + 300}
        token = jwt.encode(
            claims | provider.claims | provider.id_token, provider.key, algorithm="RS256", headers={"kid": "one"}
        )
        self.answer({"access_token": "a", "token_type": "Bearer", "id_token": token}, provider.token_status)

    def answer(self, body: dict[str, Any], status: int = 200) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    provider: Provider


@contextmanager
def identity_provider() -> Iterator[Provider]:
    """A provider that answers on a free port until the block ends."""
    server = Server(("127.0.0.1", 0), Handler)
    server.provider = Provider(url=f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def path_of(url: str) -> str:
    """Path and query of an absolute address."""
    split = urlsplit(url)
    return f"{split.path}?{split.query}" if split.query else split.path

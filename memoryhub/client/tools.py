"""The hub's tools for a model, on the agent's side: for the Claude SDK's tool runner, or a loop of one's own.

    tools = MemoryTools("https://memory.example.com", token)
    runner = Anthropic().beta.messages.tool_runner(model=…, max_tokens=…, messages=…, tools=tools.beta_tools())

The token is a subject token, made by the agent's backend (POST /api/v1/subject-tokens): it names the person, and no
argument that a model writes can name another. It may be a function that returns one, which is then asked again when
the hub no longer takes the one before.
"""

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Self

import httpx

TIMEOUT = 10.0
UNAVAILABLE = "Memory is not available now. Answer without it, and do not call this tool again in this turn."
logger = logging.getLogger(__name__)


class MemoryToolsError(Exception):
    """The hub refuses: the token does not hold, or does not go with the tool. `status` and `code` are the hub's."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{message} ({status} {code})")
        self.status = status
        self.code = code
        self.message = message


class _Unavailable(Exception):
    """The hub cannot be reached, is overloaded, or failed."""


class MemoryTools:
    """The tools of one person. `http` is used as it is and left open; without one a client is made, and closed."""

    def __init__(
        self,
        base_url: str,
        token: str | Callable[[], str],
        *,
        timeout: float = TIMEOUT,
        http: httpx.Client | None = None,
    ) -> None:
        self._base = f"{base_url.rstrip('/')}/api/v1/tools"
        self._token = token
        self._held = ""
        self._own = http is None
        self._http = http or httpx.Client(timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        if self._own:
            self._http.close()

    def definitions(self) -> list[dict[str, Any]]:
        """What is offered, as `tools` of a Messages API request takes it.

        Raises MemoryToolsError when the hub refuses, httpx.HTTPError when it cannot be had.
        """
        try:
            tools: list[dict[str, Any]] = self._ask("GET", self._base)["tools"]
        except _Unavailable as error:
            raise httpx.HTTPError(UNAVAILABLE) from error
        return tools

    def call(self, name: str, given: Mapping[str, Any], *, tool_use_id: str | None = None) -> dict[str, Any]:
        """Carry a tool_use block out; returns the tool_result block. A hub that is away is a result that says so.

        Raises MemoryToolsError when the hub refuses.
        """
        body = _body(given, tool_use_id)
        try:
            return self._ask("POST", f"{self._base}/{name}", body)
        except _Unavailable:
            return _unavailable(name, tool_use_id)

    def beta_tools(self) -> list[Any]:
        """The tools as functions for `client.beta.messages.tool_runner`. Needs the package anthropic."""
        from anthropic import beta_tool

        return [beta_tool(partial(self._run, one["name"]), **_as_given(one)) for one in self.definitions()]

    def _run(self, name: str, /, **given: Any) -> str:
        with _as_tool_error(name):
            return _text(self.call(name, given))

    def _ask(self, method: str, url: str, body: Any = None) -> dict[str, Any]:
        for again in (False, True):
            with _unreachable():
                answer = self._http.request(method, url, json=body, headers=self._headers(again))
            if answer.status_code != 401 or isinstance(self._token, str):
                break
        return _read(answer)

    def _headers(self, again: bool) -> dict[str, str]:
        if again or not self._held:
            self._held = self._token if isinstance(self._token, str) else self._token()
        return {"Authorization": f"Bearer {self._held}"}


class AsyncMemoryTools:
    """As MemoryTools, for asynchronous code: `token` may be a function that has to be awaited."""

    def __init__(
        self,
        base_url: str,
        token: str | Callable[[], Awaitable[str]],
        *,
        timeout: float = TIMEOUT,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self._base = f"{base_url.rstrip('/')}/api/v1/tools"
        self._token = token
        self._held = ""
        self._own = http is None
        self._http = http or httpx.AsyncClient(timeout=timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._own:
            await self._http.aclose()

    async def definitions(self) -> list[dict[str, Any]]:
        try:
            tools: list[dict[str, Any]] = (await self._ask("GET", self._base))["tools"]
        except _Unavailable as error:
            raise httpx.HTTPError(UNAVAILABLE) from error
        return tools

    async def call(self, name: str, given: Mapping[str, Any], *, tool_use_id: str | None = None) -> dict[str, Any]:
        body = _body(given, tool_use_id)
        try:
            return await self._ask("POST", f"{self._base}/{name}", body)
        except _Unavailable:
            return _unavailable(name, tool_use_id)

    async def beta_tools(self) -> list[Any]:
        """The tools as functions for the asynchronous client's tool runner. Needs the package anthropic."""
        from anthropic import beta_async_tool

        return [beta_async_tool(self._runner(one["name"]), **_as_given(one)) for one in await self.definitions()]

    def _runner(self, name: str) -> Callable[..., Any]:
        async def run(**given: Any) -> str:
            with _as_tool_error(name):
                return _text(await self.call(name, given))

        return run

    async def _ask(self, method: str, url: str, body: Any = None) -> dict[str, Any]:
        for again in (False, True):
            headers = await self._headers(again)
            with _unreachable():
                answer = await self._http.request(method, url, json=body, headers=headers)
            if answer.status_code != 401 or isinstance(self._token, str):
                break
        return _read(answer)

    async def _headers(self, again: bool) -> dict[str, str]:
        if again or not self._held:
            self._held = self._token if isinstance(self._token, str) else await self._token()
        return {"Authorization": f"Bearer {self._held}"}


def _body(given: Mapping[str, Any], tool_use_id: str | None) -> dict[str, Any]:
    return {"input": dict(given)} | ({"tool_use_id": tool_use_id} if tool_use_id is not None else {})


def _as_given(definition: Mapping[str, Any]) -> dict[str, Any]:
    return {key: definition[key] for key in ("name", "description", "input_schema", "strict")}


@contextmanager
def _unreachable() -> Iterator[None]:
    try:
        yield
    except httpx.TransportError as error:
        raise _Unavailable from error


def _read(answer: httpx.Response) -> dict[str, Any]:
    if answer.status_code == 429 or answer.status_code >= 500:
        raise _Unavailable
    try:
        body = answer.json()
        if answer.status_code == 200:
            return dict(body)
        error = body["error"]
        refused = MemoryToolsError(answer.status_code, str(error["code"]), str(error["message"]))
    except (ValueError, KeyError, TypeError):
        # Something else than the hub answers under its address.
        raise _Unavailable from None
    raise refused


def _unavailable(name: str, tool_use_id: str | None) -> dict[str, Any]:
    logger.warning("memory_unavailable", extra={"tool": name})
    result: dict[str, Any] = {
        "type": "tool_result",
        "content": [{"type": "text", "text": UNAVAILABLE}],
        "is_error": True,
    }
    return result | ({"tool_use_id": tool_use_id} if tool_use_id is not None else {})


@contextmanager
def _as_tool_error(name: str) -> Iterator[None]:
    """What goes wrong as the SDK tells it to a model: a refusal is the developer's to mend, and is logged."""
    from anthropic.lib.tools import ToolError

    try:
        yield
    except _SaysError as said:
        raise ToolError(str(said)) from None
    except MemoryToolsError as refused:
        logger.error("memory_tool_refused", extra={"tool": name, "status": refused.status, "code": refused.code})
        raise ToolError(UNAVAILABLE) from refused


class _SaysError(Exception):
    """A tool's answer that is an error: the model is to do something else."""


def _text(result: Mapping[str, Any]) -> str:
    text = "\n".join(block["text"] for block in result["content"])
    if result["is_error"]:
        raise _SaysError(text)
    return text

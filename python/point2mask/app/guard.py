"""What stands before the server: who may ask, how much they may send, what browsers are told."""

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 2**22  # bytes of a request: thousands of clicks and of corrections by hand
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
HEADERS = {
    # The page is all in the package; nothing is fetched from elsewhere, and nobody may frame it.
    "content-security-policy": "default-src 'self'; img-src 'self' blob:; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


class Guard:
    """ASGI middleware that refuses foreign hosts, foreign pages and large bodies.

    A page from elsewhere could have its name resolve to this machine (DNS rebinding), and then ask
    under its own name: only our names count in ``Host``. ``Origin``, where there is one, must be
    the scheme, the name and the port that was asked: another server of this machine is foreign too.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        """
        Args:
            app: what is guarded.
            host: the address that the server is bound to. Beyond loopback any address in numbers
                is one of our names too, which no name of somebody else can be.
        """
        self._app = app
        self._names = LOOPBACK | {host.lower()}
        self._any_number = host.lower() not in LOOPBACK

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(Headers(scope=scope), scope["scheme"])
        body: list[Message] = []
        if refusal is None:
            refusal = await self._read(receive, body)
        if refusal is not None:
            status, error = refusal
            response = JSONResponse({"error": error}, status)
            await response(scope, receive, send_with_headers)
            return

        async def replay() -> Message:
            return body.pop(0) if body else await receive()

        await self._app(scope, replay, send_with_headers)

    def _refusal(self, headers: Headers, scheme: str) -> tuple[int, str] | None:
        host = headers.get("host", "").lower()
        if not self._is_ours(host):
            return 403, f"expected a host of {', '.join(sorted(self._names))}"
        # Browsers leave the scheme's own port out of both.
        if "origin" in headers and headers["origin"].lower() != f"{scheme}://{host}":
            return 403, "expected a request of this server's own page"
        return None

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self._names or (self._any_number and _is_number(name))

    async def _read(self, receive: Receive, body: list[Message]) -> tuple[int, str] | None:
        """All of the body into ``body``, or why not."""
        size = 0
        while not body or body[-1].get("more_body", False):
            message = await receive()
            size += len(message.get("body", b""))
            if size > MAX_BODY:
                return 413, (
                    f"expected at most {MAX_BODY} bytes in a request: a picture's clicks and "
                    "corrections by hand all go in one, and these are too many"
                )
            body.append(message)
        return None


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True

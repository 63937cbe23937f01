"""Direct calls of an application, for what no HTTP client does."""

from collections.abc import MutableMapping
from typing import Any

from fastapi import FastAPI

Message = MutableMapping[str, Any]


async def call(
    app: FastAPI, scope: dict[str, Any], *received: Message
) -> list[Message]:
    """Call `app` with the messages that it receives; return those that it sends.

    Raises IndexError if it wants to receive more.
    """
    messages = [*received]
    sent: list[Message] = []

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    await app({"headers": [], "query_string": b"", **scope}, receive, send)
    return sent


async def open_websocket(app: FastAPI, path: str, *texts: str) -> list[str]:
    """Open a WebSocket, send it `texts`, and close it; return the texts that it sends."""
    scope = {"type": "websocket", "path": path}
    messages = [{"type": "websocket.receive", "text": text} for text in texts]
    end = {"type": "websocket.disconnect", "code": 1000}
    sent = await call(app, scope, {"type": "websocket.connect"}, *messages, end)
    return [message["text"] for message in sent if "text" in message]


async def disconnect(
    app: FastAPI, method: str, path: str, body: bytes, *, is_sent: bool
) -> int:
    """Send a request, perhaps without its body, and disconnect; return its status code."""
    headers = [(b"content-type", b"application/json")]
    if body:
        headers.append((b"content-length", str(len(body)).encode()))
    scope = {"type": "http", "method": method, "path": path, "headers": headers}
    messages: list[Message] = [{"type": "http.disconnect"}]
    if is_sent:
        messages.insert(0, {"type": "http.request", "body": body})
    sent = await call(app, scope, *messages)
    status_code: int = sent[0]["status"]
    return status_code

"""A TCP proxy for database servers, which counts connections and round trips."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any, Self


class Proxy:
    """Forwards data between clients and a server.

    A new connection goes to the first port of ``targets`` that accepts it, and is
    closed if none does. ``targets`` may change at any time.

    Data from a client after data from the server counts as one round trip, however many
    messages it contains, because the client waits once.
    """

    def __init__(self, targets: Sequence[int]) -> None:
        self.targets = targets
        self._passing: set[asyncio.Future[Any]] = set()
        self._clients: set[asyncio.StreamWriter] = set()
        self.trips = 0
        self.connections = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._clients:
            writer.close()
        await asyncio.gather(*self._passing)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.connections += 1
        for port in self.targets:
            with suppress(OSError):
                server_reader, server_writer = await asyncio.open_connection(
                    "127.0.0.1", port
                )
                break
        else:
            writer.close()
            return
        answered = True

        async def ask() -> None:
            nonlocal answered
            try:
                while data := await reader.read(1 << 16):
                    self.trips += answered
                    answered = False
                    server_writer.write(data)
            finally:
                server_writer.close()

        async def answer() -> None:
            nonlocal answered
            try:
                while data := await server_reader.read(1 << 16):
                    answered = True
                    writer.write(data)
            finally:
                writer.close()

        passing = asyncio.gather(ask(), answer(), return_exceptions=True)
        self._passing.add(passing)
        self._clients.add(writer)
        await passing  # Exceptions are expected: services and servers are killed.
        self._clients.discard(writer)
        self._passing.discard(passing)


@contextmanager
def running_proxy(targets: Sequence[int]) -> Iterator[Proxy]:
    """Run a proxy in a thread until the end of the ``with`` block."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()
    proxy = Proxy(targets)
    asyncio.run_coroutine_threadsafe(proxy.__aenter__(), loop).result()
    try:
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(proxy.__aexit__(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

"""A proxy before a database server, which counts connections and round trips."""

import asyncio
from contextlib import suppress
from typing import Self


class Proxy:
    """Passes on what clients and a server at ``port`` send each other.

    Data from a client that follows data from the server is one more round trip,
    however many messages it holds: that is how often the client waits.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._passing: set[asyncio.Future[tuple[None, None]]] = set()
        self.trips = 0
        self.connections = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await asyncio.gather(*self._passing)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.connections += 1
        server_reader, server_writer = await asyncio.open_connection(
            "127.0.0.1", self._target
        )
        answered = True

        async def ask() -> None:
            nonlocal answered
            with suppress(ConnectionError):  # Services are killed.
                while data := await reader.read(1 << 16):
                    self.trips += answered
                    answered = False
                    server_writer.write(data)
            server_writer.close()

        async def answer() -> None:
            nonlocal answered
            with suppress(ConnectionError):
                while data := await server_reader.read(1 << 16):
                    answered = True
                    writer.write(data)
            writer.close()

        passing = asyncio.gather(ask(), answer())
        self._passing.add(passing)
        await passing
        self._passing.discard(passing)

"""Running a service on this machine until it is interrupted."""

import asyncio
import socket
from dataclasses import replace

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from papagaio.auditing.opening import declaration_of
from papagaio.blackboxes.contract import BlackBox
from papagaio.blackboxes.named import open_black_box
from papagaio.errors import BadSettings
from papagaio.serving.app import MODEL, app_of
from papagaio.serving.faults import Conditions
from papagaio.serving.settings import ServeOptions
from papagaio.serving.shown import showing
from papagaio.serving.usage import Allowance, Usage

__all__ = ["Service", "open_service"]

_HOST = "127.0.0.1"
_IDLE_SECONDS = 75
_SECONDS_TO_END = 3


class _Protocol(H11Protocol):
    """Lets a fault reach the connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class Service:
    """A service that is ready to run; connections wait until it does.

    Attributes:
        address: of its model.
        contract: what it takes and shows.
        server: runs it.
    """

    def __init__(self, box: BlackBox, options: ServeOptions) -> None:
        """Take the port.

        Raises:
            BadSettings: it cannot be had, or the black box does not show what is wanted.
        """
        shown = showing(box, options.shows)
        self.contract = shown.contract
        self._box = box
        usage = Usage(options.price_per_1000)
        allowance = Allowance(options.requests_per_second)
        app = Conditions(app_of(shown, usage), usage, allowance, options.latency, options.faults)
        config = uvicorn.Config(
            app,
            http=_Protocol,
            log_config=None,
            log_level="critical",  # a request that Ctrl-C cuts off is no error
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=_SECONDS_TO_END,
        )
        self.server = uvicorn.Server(config)
        try:
            self._socket = socket.create_server((_HOST, options.port), backlog=1024)
        except OSError as error:
            raise BadSettings(
                f"cannot be had ({error.strerror}); name another one, or 0 for a free one",
                field="port",
                value=options.port,
            ) from error
        self.address = f"http://{_HOST}:{self._socket.getsockname()[1]}/v2/models/{MODEL}"

    def run(self) -> None:
        """Answer until Ctrl-C, or until `server.should_exit` is set."""
        try:
            self.server.run(sockets=[self._socket])
        except KeyboardInterrupt:
            # The usual end of a service; raised again once all connections are closed.
            return
        finally:
            self._socket.close()

    def close(self) -> None:
        """Close the black box: it ends a function that is busy, whose threads Python waits for."""
        self._box.close()


def open_service(options: ServeOptions) -> Service:
    """Open the black box that options name, and a service over it.

    Raises:
        BadSettings: the black box cannot be opened or does not show what is wanted, or the port
            cannot be had.
        BadAnswer: the black box is a service itself and does not describe its model.
    """
    declared = replace(declaration_of(options), response=None)
    box = open_black_box(options.black_box, declared, weights=options.weights)
    return Service(box, options)

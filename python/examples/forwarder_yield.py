"""Forwards TCP connections to another address, and ends well: at Ctrl-C or SIGTERM it accepts no
more, lets those go on that still transfer, and ends silent ones after a second.

Run it with `python python/examples/forwarder_yield.py LISTEN TARGET`, as in
`... 127.0.0.1:7010 127.0.0.1:7007`.
"""

import socket
import sys

import asyncoro

PIECE = 64 << 10  # bytes at a time
CONNECT_WITHIN = 5  # seconds
IDLE = 300  # seconds after which a silent connection is closed


def forward(client, address, target):
    try:
        server = yield asyncoro.create_connection(target, timeout=CONNECT_WITHIN)
    except OSError as error:
        print("no connection to %s for %s: %s" % (target, address, error), file=sys.stderr)
        return
    try:
        yield asyncoro.gather(pump(client, server), pump(server, client))
    finally:
        server.close()


def pump(source, sink):
    """Copies until the end of the stream, and passes that on."""
    while data := (yield source.recv(PIECE)):
        yield sink.sendall(data)
    yield sink.flush()
    sink.shutdown(socket.SHUT_WR)


def main(listen, target):
    server = asyncoro.create_server(listen)
    print("listening on %s:%s" % server.getsockname(), flush=True)
    served = yield asyncoro.serve(
        server, lambda client, address: forward(client, address, target), idle_timeout=IDLE
    )
    print(served)


if __name__ == "__main__":
    asyncoro.run_until(main(*sys.argv[1:]))

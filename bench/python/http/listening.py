"""What both servers have in common: `python SERVER LOOP`, asyncio, uvloop or asyncoro.

A server prints its port and serves until it is killed or its standard input ends.
"""

import os
import socket
import sys
import threading


def new_event_loop():
    """A loop of the kind that was asked for."""
    name = sys.argv[1]
    if name == 'uvloop':
        import uvloop
        return uvloop.new_event_loop()
    if name == 'asyncoro':
        import asyncoro
        return asyncoro.new_event_loop()
    import asyncio
    return asyncio.new_event_loop()


def listen():
    """A listening socket; what it accepts inherits its options, whoever accepts."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # Always there and without timers, as in `bench/src/load.rs`.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b'reno')
    listener.bind(('127.0.0.1', 0))
    listener.listen(1024)
    listener.setblocking(False)
    threading.Thread(target=end_with_input, daemon=True).start()
    return listener


def tell(listener):
    """Tells the parent where it listens, once it serves."""
    os.write(1, b'%d\n' % listener.getsockname()[1])
    # Whatever a library prints from now on is no answer to the parent.
    os.dup2(2, 1)


def end_with_input():
    while os.read(0, 4096):
        pass
    os._exit(0)

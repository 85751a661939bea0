"""What all servers have in common: `python SERVER KIND LENGTH`.

KIND is what they answer: `echo` (what has come, received by up to LENGTH bytes), `records` (exactly
RECORD bytes at a time) or `messages` (a length in HEADER, and so many bytes). A server prints its
port and serves until it is killed or its standard input ends.
"""

import os
import socket
import struct
import sys
import threading

KIND = sys.argv[1]
LENGTH = int(sys.argv[2])
RECORD = 64
HEADER = struct.Struct('>L')
BACKLOG = 1024


def listen():
    """A listening socket; what it accepts inherits its options, whoever accepts."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Always there and without timers, as in `bench/src/load.rs`.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b'reno')
    listener.bind(('127.0.0.1', 0))
    listener.listen(BACKLOG)
    listener.setblocking(False)
    threading.Thread(target=end_with_input, daemon=True).start()
    os.write(1, b'%d\n' % listener.getsockname()[1])
    # Whatever a library prints from now on is no answer to the parent.
    os.dup2(2, 1)
    return listener


def end_with_input():
    while os.read(0, 4096):
        pass
    os._exit(0)

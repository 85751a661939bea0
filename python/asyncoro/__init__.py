"""Asynchronous network programming with the API of blocking sockets.

A socket is converted, and what would block is written with `yield` in a generator or `await` in an
`async def`; other coroutines run meanwhile. Programs of asyncoro and pycos run unchanged.

>>> import asyncoro, socket
>>> async def client(coro=None):
...     sock = asyncoro.AsyncSocket(socket.socket())
...     await sock.connect(('localhost', 8010))
...     await sock.send_msg(b'hello')
...     return await sock.recv_msg()
>>> asyncoro.run(client())
"""

import importlib as _importlib
import pickle
import sys as _sys

if 't' in getattr(_sys, 'abiflags', ''):
    raise ImportError(
        'asyncoro needs a CPython with the GIL, and this is a free-threaded build (its name ends '
        'in t, as python3.14t does): use the build without the t'
    )

from . import _engine
from ._categories import CategorizeMessages, Singleton
from ._engine import (
    AsyncSocket, Call, Channel, Coro, Event, Lock, Queue, RLock, Semaphore, current, sleep,
)
from ._inherit import TakenOver, hand_over, inherited, inheriting, listener, take_over
from ._legacy import install_aliases
from ._log import Logger, logger
from ._pool import AsyncDBCursor, AsyncThreadPool
from ._scheduler import AsynCoro
from ._scope import Scope, is_stopping, map_bounded, scope, stopping
from ._serve import Served, Server, serve
from ._status import HotSwapException, MailboxFull, MonitorStatus, Terminated
from ._sync import (
    ChannelStatistics, Condition, ConditionStatistics, EventStatistics, LockStatistics, QueueEmpty,
    QueueFull, QueueShutDown, QueueStatistics, SemaphoreStatistics,
)
from ._today import (
    create_connection, create_server, first, gather, run, run_until, timeout, wait_future,
)
from . import signals
from ._sockets import BlockingSocket

__version__ = _engine.__version__

__all__ = [
    'AsynCoro', 'AsynCoroSocket', 'AsyncDBCursor', 'AsyncSocket', 'AsyncThreadPool',
    'BlockingSocket', 'Call', 'CategorizeMessages', 'Channel', 'ChannelStatistics', 'Condition',
    'ConditionStatistics', 'Coro', 'Event', 'EventLoop', 'EventStatistics', 'HotSwapException',
    'Lock', 'LockStatistics', 'Logger', 'MailboxFull', 'MonitorException', 'MonitorStatus',
    'Pycos', 'Queue', 'QueueEmpty', 'QueueFull', 'QueueShutDown', 'QueueStatistics', 'RLock',
    'Scope', 'Semaphore', 'SemaphoreStatistics', 'Served', 'Server', 'Singleton', 'TakenOver',
    'Task', 'Terminated', 'asyncfile', 'create_connection', 'create_server', 'current',
    'deserialize', 'first', 'gather', 'hand_over', 'inherited', 'inheriting', 'install_aliases',
    'is_stopping', 'listener', 'logger', 'map_bounded', 'new_event_loop', 'run', 'run_until',
    'scope', 'serialize', 'serve', 'signals', 'sleep', 'stopping', 'take_over', 'timeout',
    'unserialize', 'wait_future',
]

# Names of pycos and of asyncoro's older programs.
Task = Coro
Pycos = AsynCoro
AsynCoroSocket = AsyncSocket
MonitorException = MonitorStatus
serialize = pickle.dumps
unserialize = deserialize = pickle.loads

# As programs name them, in texts and in pickles.
for _public in (
    AsynCoro, AsyncDBCursor, AsyncThreadPool, BlockingSocket, CategorizeMessages,
    ChannelStatistics, Condition, ConditionStatistics, EventStatistics, HotSwapException,
    LockStatistics, Logger, MailboxFull, MonitorStatus, QueueEmpty, QueueFull, QueueShutDown,
    QueueStatistics, Scope, SemaphoreStatistics, Served, Server, Singleton, TakenOver,
    Terminated,
):
    _public.__module__ = __name__


def __getattr__(name):
    # Their base is asyncio's, which programs without it need not import.
    if name in ('EventLoop', 'EventLoopPolicy', 'new_event_loop'):
        from . import _loop

        return getattr(_loop, name)
    if name == 'asyncfile':
        # What it needs takes its time, and few programs use files.
        return _importlib.import_module('.asyncfile', __name__)
    raise AttributeError('module %r has no attribute %r' % (__name__, name))

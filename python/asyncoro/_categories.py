"""Defines `CategorizeMessages` and `Singleton`."""

import collections
import threading
import time
import types

from ._log import logger


class CategorizeMessages:
    """Sorts the messages of a coroutine into categories, to receive those of one before others.

    Only `receive` of this object may receive the messages of the coroutine then.

    >>> sorted_ = CategorizeMessages(coro)
    >>> sorted_.add(lambda message: 'urgent' if message.startswith('!') else None)
    >>> message = yield sorted_.receive('urgent')
    """

    def __init__(self, coro):
        self._coro = coro
        self._functions = []
        #: By category, the messages that were received and not taken, in their order.
        self._kept = collections.defaultdict(collections.deque)

    def add(self, categorize):
        """Adds a function that is called with a message and returns its category, any value that
        can be a key; or None, and then those are asked that were added before. A message that none
        of them knows is of the category None.
        """
        if not callable(categorize):
            kind = type(categorize).__name__
            raise TypeError('a function of a message is wanted, not %s' % kind)
        self._functions.insert(0, categorize)

    def remove(self, categorize):
        """Removes a function that `add` was given."""
        try:
            self._functions.remove(categorize)
        except ValueError:
            logger.warning('%r is no function of these categories', categorize)

    @types.coroutine
    def receive(self, category=None, timeout=None, alarm_value=None):
        """Receives the earliest message of a category; `alarm_value` after `timeout` seconds.
        Others are kept. What a function raises is raised here; its message is of the category None.

        >>> message = await categories.receive('urgent', timeout=1)
        """
        # Looked up without making an entry for a category that nobody has a message of.
        kept = self._kept.get(category)
        if kept:
            return self._taken(category)
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if deadline is None else max(0, deadline - time.monotonic())
            message = yield from self._coro.receive(left, _NOTHING)
            if message is _NOTHING:
                return alarm_value
            found = None
            try:
                found = self._category_of(message)
            finally:
                self._kept[found].append(message)
            if found == category:
                return self._taken(category)

    recv = receive

    def _taken(self, category):
        kept = self._kept[category]
        message = kept.popleft()
        if not kept:
            del self._kept[category]
        return message

    def _category_of(self, message):
        for categorize in self._functions:
            found = categorize(message)
            if found is not None:
                hash(found)
                return found
        return None


#: What `receive` of a coroutine gives when its time is over: no message is this.
_NOTHING = object()


class Singleton(type):
    """The metaclass of a class that has one object: each call of the class gives that.

    >>> class Settings(metaclass=Singleton):
    ...     pass
    >>> Settings() is Settings()
    True
    """

    #: Reentrant, since one object may need another one.
    _lock = threading.RLock()

    def __call__(cls, *args, **kwargs):
        made = Singleton.instance(cls)
        if made is None:
            with Singleton._lock:
                made = Singleton.instance(cls)
                if made is None:
                    made = super().__call__(*args, **kwargs)
                    type.__setattr__(cls, _OBJECT, made)
        return made

    @staticmethod
    def instance(cls):
        """Returns the object of a class; None if there is none yet."""
        return cls.__dict__.get(_OBJECT)

    @staticmethod
    def discard(cls):
        """Forgets the object of a class: the next call makes another one."""
        with Singleton._lock:
            if _OBJECT in cls.__dict__:
                type.__delattr__(cls, _OBJECT)


_OBJECT = '_asyncoro_singleton'

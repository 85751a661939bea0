"""Defines the log of asyncoro, `asyncoro.logger`, with the API that its programs use."""

import sys
import time


class Logger:
    """Writes lines with a time to standard output, warnings and errors to standard error.

    >>> logger.setLevel(Logger.DEBUG)
    >>> logger.info('listening on %s', port)
    """

    DEBUG, INFO, WARN, WARNING, ERROR, CRITICAL, FATAL = 10, 20, 30, 30, 40, 50, 50

    def __init__(self, name, stream=None, level=None, log_ms=False):
        self.name = name
        self.stream = stream
        self.level = self.INFO if level is None else level
        self.log_ms = log_ms

    def setLevel(self, level):
        """Leaves out entries below `level`: a number, or a name as 'debug'."""
        if isinstance(level, str):
            level = getattr(self, level.upper())
        self.level = int(level)

    def show_ms(self, flag):
        """Sets whether times have milliseconds."""
        self.log_ms = bool(flag)

    def log(self, message, *args):
        """Writes a line, whatever the level."""
        self._write(self.CRITICAL, sys.stdout, message, args)

    def debug(self, message, *args):
        self._write(self.DEBUG, sys.stdout, message, args)

    def info(self, message, *args):
        self._write(self.INFO, sys.stdout, message, args)

    def warning(self, message, *args):
        self._write(self.WARNING, sys.stderr, message, args)

    warn = warning

    def error(self, message, *args):
        self._write(self.ERROR, sys.stderr, message, args)

    def critical(self, message, *args):
        self._write(self.CRITICAL, sys.stderr, message, args)

    fatal = critical

    def flush(self):
        """Flushes the streams of the log."""
        for stream in (self.stream or sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()

    shutdown = flush

    def _write(self, level, usual, message, args):
        stream = self.stream or usual
        if level < self.level or stream is None:
            return
        now = time.time()
        stamp = time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(now))
        if self.log_ms:
            stamp += '.%03d' % (now % 1 * 1000)
        text = message % args if args else message
        stream.write('%s %s - %s\n' % (stamp, self.name, text))
        stream.flush()


logger = Logger('asyncoro')

"""Defines the log of asyncoro, `asyncoro.logger`, with the API that its programs use."""

import logging
import sys
import time

from ._status import text_of


class Logger:
    """Feeds the logger of `logging` that has the same name, if the program has configured that;
    else writes lines with a time to standard output, warnings and errors to standard error.

    A stream that was given gets the lines in either case.

    >>> logger.setLevel(Logger.DEBUG)
    >>> logger.info('listening on %s', port)
    """

    DEBUG, INFO, WARN, WARNING, ERROR, CRITICAL, FATAL = 10, 20, 30, 30, 40, 50, 50

    def __init__(self, name, stream=None, level=None, log_ms=False):
        self.name = name
        self.stream = stream
        self.level = self.INFO if level is None else level
        self.log_ms = log_ms
        # Until it is set, `logging` alone decides on what it gets.
        self._is_level_set = level is not None

    def setLevel(self, level):
        """Leaves out entries below `level`: a number, a name as 'debug', or the method of that
        name, which old programs take for one.
        """
        if callable(level):
            level = level.__name__
        if isinstance(level, str):
            level = getattr(self, level.upper())
        self.level = int(level)
        self._is_level_set = True

    def show_ms(self, flag):
        """Sets whether times have milliseconds."""
        self.log_ms = bool(flag)

    def log(self, message, *args):
        """Writes a line, whatever the level."""
        self._write(self.CRITICAL, sys.stdout, message, args, shown=self.INFO)

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

    def exception(self, message, *args):
        """Writes an error, with the traceback of the exception that is being handled."""
        self._write(self.ERROR, sys.stderr, message, args, sys.exc_info()[1])

    def flush(self):
        """Flushes the streams of the log."""
        for stream in (self.stream or sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()

    shutdown = flush

    def _report(self, label, error):
        """Writes the uncaught exception of a coroutine, with its traceback."""
        self._write(self.ERROR, sys.stderr, 'uncaught exception in %s', (label,), error)

    def _write(self, level, usual, message, args, error=None, shown=None):
        standard = logging.getLogger(self.name)
        is_configured = standard.hasHandlers()
        if (
            is_configured
            and (level >= self.level or not self._is_level_set)
            and standard.isEnabledFor(level)
        ):
            # The line of the program, not of this file, whatever `stacklevel` means in a version.
            caller = sys._getframe(2)
            code = caller.f_code
            info = error and (type(error), error, error.__traceback__)
            record = standard.makeRecord(
                self.name, shown or level, code.co_filename, caller.f_lineno, message, args, info,
                code.co_name,
            )
            standard.handle(record)
        stream = self.stream or (None if is_configured else usual)
        if level < self.level or stream is None:
            return
        now = time.time()
        stamp = time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(now))
        if self.log_ms:
            stamp += '.%03d' % (now % 1 * 1000)
        text = message % args if args else message
        if error is not None:
            text = '%s:\n%s' % (text, text_of(error))
        stream.write('%s %s - %s\n' % (stamp, self.name, text))
        stream.flush()


logger = Logger('asyncoro')

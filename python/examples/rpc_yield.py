"""Remote calls: a line of JSON for each request and each answer, with an id, so that many callers
share a connection and answers may come in any order. The client has timeouts, and connects again,
later and later, when the connection is lost.

Run it with `python python/examples/rpc_yield.py`; both ends are in one program.
"""

import json
import random

import asyncoro

LONGEST = 1 << 20  # bytes of a line
FIRST_PAUSE, LONGEST_PAUSE = 0.01, 1  # seconds between two attempts to connect


class RemoteError(Exception):
    """What the function has raised at the other end."""


class ConnectionLost(OSError):
    """The connection has ended before the answer came: the call may have been made."""


class Client:
    """`yield client.call("add", 1, 2)`, from any number of coroutines at once."""

    def __init__(self, address):
        self.address = address
        self.sock = None
        self.last = 0
        self.waiting = {}  # a queue for the answer, by the id of the request
        self.connected = asyncoro.Event()
        self.reader = asyncoro.Coro(self.run)

    def call(self, name, *arguments, timeout=5):
        with asyncoro.timeout(timeout):
            yield self.connected.wait()
            self.last += 1
            number, answer = self.last, asyncoro.Queue(1)
            self.waiting[number] = answer
            try:
                request = {"id": number, "call": name, "arguments": arguments}
                yield self.sock.sendall(json.dumps(request).encode() + b"\n")
                answer = yield answer.get()
            finally:
                # An answer that comes later is nobody's.
                self.waiting.pop(number, None)
        if isinstance(answer, Exception):
            raise answer
        if "error" in answer:
            raise RemoteError(answer["error"])
        return answer["value"]

    def run(self):
        """Connects, reads answers, and connects again."""
        pause = FIRST_PAUSE
        while True:
            try:
                self.sock = yield asyncoro.create_connection(self.address, timeout=5)
                pause = FIRST_PAUSE
                self.connected.set()
                while (line := (yield self.sock.recv_line(LONGEST))) is not None:
                    answer = json.loads(line)
                    waiting = self.waiting.get(answer["id"])
                    if waiting is not None:
                        waiting.put_nowait(answer)
            except (OSError, EOFError, ValueError, KeyError) as error:
                print("the connection is lost:", error)
            finally:
                self.connected.clear()
                if self.sock is not None:
                    self.sock.close()
                for waiting in self.waiting.values():
                    waiting.put_nowait(ConnectionLost("the connection was lost"))
                self.waiting.clear()
            # Not all clients of a server that has failed at the same moment.
            yield asyncoro.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, LONGEST_PAUSE)

    def close(self):
        self.reader.terminate()


FUNCTIONS = {"add": lambda a, b: a + b, "divide": lambda a, b: a / b, "greet": "hello {}".format}


def answer(client, address):
    """Answers each request in a coroutine of its own: a slow one holds up no other."""

    def block(s):
        while (line := (yield client.recv_line(LONGEST))) is not None:
            s.spawn(answer_one, client, json.loads(line))

    yield asyncoro.scope(block)


def answer_one(client, request):
    try:
        if request["call"] == "sleep":
            yield asyncoro.sleep(*request["arguments"])
            answer = {"value": None}
        else:
            answer = {"value": FUNCTIONS[request["call"]](*request["arguments"])}
    except Exception as error:
        answer = {"error": repr(error)}
    yield client.sendall(json.dumps({"id": request["id"], **answer}).encode() + b"\n")


def main():
    listener = asyncoro.create_server("127.0.0.1:0")
    address = listener.getsockname()
    server = asyncoro.Server(listener)
    serving = asyncoro.Coro(server.serve, answer)
    client = Client(address)

    slow = asyncoro.Coro(client.call("sleep", 0.2))
    sums = yield asyncoro.gather(*(client.call("add", n, n) for n in range(100)))
    assert sums == [2 * n for n in range(100)]
    assert slow.is_alive()  # those that came after it were answered before
    yield slow.finish()
    print((yield client.call("greet", "world")))
    try:
        yield client.call("divide", 1, 0)
    except RemoteError as error:
        print("an error of the other end:", error)
    try:
        yield client.call("sleep", 60, timeout=0.1)
    except TimeoutError:
        print("no answer in 0.1 s")

    # The server ends, in the middle of a call, and comes back.
    lost = asyncoro.Coro(client.call("sleep", 60))
    yield asyncoro.sleep(0.05)
    server.end()
    yield serving.finish()
    status = yield lost.finish()  # a coroutine that has failed gives a MonitorStatus
    print(status.value.splitlines()[-1].split(": ", 1)[1])
    server = asyncoro.Server(asyncoro.create_server(address))
    serving = asyncoro.Coro(server.serve, answer)
    print("again:", (yield client.call("add", 20, 22)))
    client.close()
    server.stop()
    yield serving.finish()


if __name__ == "__main__":
    asyncoro.run_until(main())

"""asyncpg in coroutines of asyncoro: rows of PostgreSQL to clients that ask by lines.

Each line of a client is the name of a kind of thing; the answer is how many there are, from the
database. Both the server of lines and asyncpg run on one thread.

    python asyncpg_rows.py postgres://user@host/database [port]

Needs `pip install asyncpg`.
"""

import sys

import asyncoro
import asyncpg

TABLE = """
    CREATE TEMPORARY TABLE things (kind text PRIMARY KEY, count int);
    INSERT INTO things VALUES ('apples', 3), ('pears', 5);
"""


async def answer(sock, pool):
    async for line in sock.lines():
        async with pool.acquire() as connection:
            count = await connection.fetchval(
                "SELECT count FROM things WHERE kind = $1", line.decode()
            )
        await sock.sendall(b"%d\n" % (count or 0))
    sock.close()


async def main():
    async def prepare(connection):
        await connection.execute(TABLE)

    port = int(sys.argv[2]) if len(sys.argv) > 2 else 8010
    async with asyncpg.create_pool(sys.argv[1], min_size=1, max_size=4, init=prepare) as pool:
        server = asyncoro.create_server(("127.0.0.1", port))
        print("listening on %s:%d" % server.getsockname(), flush=True)
        while True:
            sock, _ = await server.accept()
            asyncoro.Coro(answer, sock, pool)


if __name__ == "__main__":
    asyncoro.run(main(), asyncio=True)

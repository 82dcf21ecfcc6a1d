"""A host's end of the probe of the ring's network: listens where the ring will, and connects to the others.

This file is sent to hosts as text and run there (``python -c TEXT ORDER``) before anything is installed:
standard library only, nothing of this project, Python 3.8. ORDER is JSON: ``{"token", "listen": [[address,
port], ...], "connect": [[address, port], ...], "seconds"}``. It answers ``{"closed": [[address, port, why],
...]}`` once it listens; on a line it connects, and answers ``{"unreached": [[address, port, why], ...]}``;
on the next line, or when its input ends, it is done.
"""

from __future__ import annotations

import errno
import json
import select
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_WAIT_SECONDS = 30.0  # for the console's word


def main(order: dict[str, Any]) -> None:
    token, seconds = order["token"].encode(), float(order["seconds"])
    closed: list[list[Any]] = []
    for address, port in order["listen"]:
        why = _listen(address, port, token, seconds)
        if why:
            closed.append([address, port, why])
    _say({"closed": closed})
    if not _word():
        return
    places = order["connect"]
    with ThreadPoolExecutor(max(1, len(places))) as pool:
        tried = [(place, pool.submit(_connect, place[0], place[1], token, seconds)) for place in places]
        whys = [[*place, each.result()] for place, each in tried]
    _say({"unreached": [why for why in whys if why[2]]})
    _word()


def _listen(address: str, port: int, token: bytes, seconds: float) -> str:
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind((address, port))
        server.listen(16)
    except OSError as error:
        server.close()
        return _why(error)
    threading.Thread(target=_serve, args=(server, token, seconds), daemon=True).start()
    return ""


def _serve(server: socket.socket, token: bytes, seconds: float) -> None:
    while True:
        peer, _ = server.accept()
        threading.Thread(target=_answer, args=(peer, token, seconds), daemon=True).start()


def _answer(peer: socket.socket, token: bytes, seconds: float) -> None:
    with peer:
        peer.settimeout(seconds)
        try:
            if _read(peer, len(token)) == token:
                peer.sendall(token[::-1])
            peer.recv(1)  # the other end closes first: the port is free again at once then
        except OSError:
            return


def _connect(address: str, port: int, token: bytes, seconds: float) -> str:
    try:
        with socket.create_connection((address, port), timeout=seconds) as peer:
            peer.sendall(token)
            return "" if _read(peer, len(token)) == token[::-1] else "another program answers"
    except OSError as error:
        return _why(error)


def _read(peer: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = peer.recv(count - len(data))
        if not part:
            break
        data += part
    return data


def _why(error: OSError) -> str:
    if isinstance(error, socket.timeout):
        return "ETIMEDOUT"
    return errno.errorcode.get(error.errno or 0, error.strerror or str(error))


def _word() -> bool:
    ready, _, _ = select.select([sys.stdin.buffer], [], [], _WAIT_SECONDS)
    return bool(ready and sys.stdin.buffer.readline())


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

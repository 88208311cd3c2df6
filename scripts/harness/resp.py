"""A small blocking RESP2 client."""

import socket


class ReplyError(Exception):
    """An error reply; its text begins with the error's code."""


def encode(*arguments):
    """One command as bytes; arguments are bytes, str or numbers."""
    frame = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        if not isinstance(argument, bytes):
            argument = str(argument).encode()
        frame.append(b"$%d\r\n%s\r\n" % (len(argument), argument))
    return b"".join(frame)


class Client:
    """One connection. Bulk strings come as bytes, errors inside arrays as ReplyError values."""

    def __init__(self, port, timeout_s=30.0, host="127.0.0.1"):
        self.socket = socket.create_connection((host, port), timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = self.socket.makefile("rb")

    def close(self):
        self.reader.close()
        self.socket.close()

    def send(self, *arguments):
        self.socket.sendall(encode(*arguments))

    def command(self, *arguments):
        """Sends a command and gives its reply; raises ReplyError for an error reply."""
        self.send(*arguments)
        reply = self.read()
        if isinstance(reply, ReplyError):
            raise reply
        return reply

    def pipeline(self, commands):
        """Sends tuples of arguments at once and gives their replies; for some thousands."""
        self.socket.sendall(b"".join(encode(*command) for command in commands))
        return [self.read() for _ in commands]

    def read(self):
        line = self.reader.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            return ReplyError(rest.decode(errors="replace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            length = int(rest)
            if length < 0:
                return None
            blob = self.reader.read(length + 2)
            if len(blob) != length + 2:
                raise ConnectionError("the server closed the connection")
            return blob[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self.read() for _ in range(int(rest))]
        raise ValueError("not RESP2: %r" % line)

"""Writes of all types, and the whole content of a server to compare."""

import random
import time

from .resp import ReplyError

DATABASES = 3
# What Redis 7.0 doesn't know.
FIELD_EXPIRY = "field expiry"
LIBRARY = """#!lua name=mixed
redis.register_function('bump', function(keys, args)
  redis.call('INCRBY', keys[1], args[1])
  return redis.call('RPUSH', keys[1] .. ':log', args[1])
end)"""
SCRIPT = "redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]); return redis.call('INCR', KEYS[2])"


class Mix:
    """Endless commands of all types, the same for the same seed."""

    def __init__(self, seed, knows_field_expiry):
        self.chance = random.Random(seed)
        self.knows_field_expiry = knows_field_expiry

    def name(self, kind, count=200):
        return "%s:%d" % (kind, self.chance.randrange(count))

    def batch(self, size):
        """Tuples of arguments."""
        commands = []
        while len(commands) < size:
            makers = (
                self.strings, self.strings, self.lists, self.sets, self.hashes, self.sorted_sets,
                self.streams, self.others, self.expiries, self.whole_keys, self.transactions,
            )
            commands += self.chance.choice(makers)()
        return commands

    def word(self):
        length = self.chance.choice((1, 5, 20, 80, 80, 400))
        return "%x" % self.chance.getrandbits(4 * length)

    def number(self, to=1000):
        return self.chance.randrange(-to, to)

    def strings(self):
        pick, key = self.chance.choice, self.name("string", 2000)
        return [pick([
            ("SET", key, self.word()),
            ("SET", key, self.word(), "PX", self.chance.randrange(1, 60_000)),
            ("SET", key, self.word(), "KEEPTTL"),
            ("SETNX", key, self.word()), ("GETSET", key, self.word()), ("GETDEL", key),
            ("APPEND", key, self.word()), ("SETRANGE", key, self.chance.randrange(300), self.word()),
            ("INCRBY", self.name("number"), self.number()),
            ("INCRBYFLOAT", self.name("float"), self.number() / 8),
            ("MSET", key, self.word(), self.name("string"), self.word()),
            ("GETEX", key, "EX", self.chance.randrange(100, 1000)),
            ("SETBIT", self.name("bits"), self.chance.randrange(4000), self.chance.randrange(2)),
            ("BITFIELD", self.name("bits"), "INCRBY", "i8", "#%d" % self.chance.randrange(40), 100),
            ("BITOP", "XOR", self.name("bits"), self.name("bits"), self.name("bits")),
            ("PFADD", self.name("log", 20), self.word(), self.word()),
            ("PFMERGE", self.name("log", 20), self.name("log", 20)),
        ])]

    def lists(self):
        key, pick = self.name("list"), self.chance.choice
        return [pick([
            ("RPUSH", key, self.word(), self.number()), ("LPUSH", key, self.word()),
            ("LPOP", key), ("RPOP", key, 2), ("LSET", key, 0, self.word()),
            ("LINSERT", key, pick(("BEFORE", "AFTER")), self.number(5), self.word()),
            ("LREM", key, 1, self.number(5)), ("LTRIM", key, 0, 300),
            ("LMOVE", key, self.name("list"), "LEFT", "RIGHT"),
            ("LMPOP", 2, key, self.name("list"), "LEFT", "COUNT", 3),
            ("RPUSH", key, *[self.number() for _ in range(40)]),
            ("SORT", key, "ALPHA", "STORE", self.name("sorted-list")),
        ])]

    def sets(self):
        key, other = self.name("set"), self.name("set")
        return [self.chance.choice([
            ("SADD", key, self.number(), self.number()), ("SADD", key, self.word()),
            ("SREM", key, self.number()), ("SPOP", key), ("SPOP", key, 3),
            ("SMOVE", key, other, self.number()), ("SINTERSTORE", self.name("set"), key, other),
            ("SUNIONSTORE", self.name("set"), key, other), ("SDIFFSTORE", self.name("set"), key, other),
        ])]

    def hashes(self):
        key, field = self.name("hash"), "f%d" % self.chance.randrange(200)
        choices = [
            ("HSET", key, field, self.word()), ("HSET", key, field, self.number(), "g", self.word()),
            ("HDEL", key, field), ("HINCRBY", self.name("counts"), field, self.number()),
            ("HINCRBYFLOAT", self.name("amounts"), field, self.number() / 8),
            ("HSETNX", key, field, self.word()),
        ]
        if self.knows_field_expiry:
            seconds = self.chance.randrange(1, 100)
            choices += [
                ("HEXPIRE", key, seconds, "FIELDS", 1, field), ("HPERSIST", key, "FIELDS", 1, field),
                ("HGETEX", key, "PX", seconds * 1000, "FIELDS", 1, field),
                ("HSETEX", key, "EX", seconds, "FIELDS", 1, field, self.word()),
            ]
        return [self.chance.choice(choices)]

    def sorted_sets(self):
        key, other = self.name("zset"), self.name("zset")
        member = "m%d" % self.chance.randrange(300)
        return [self.chance.choice([
            ("ZADD", key, self.number() / 4, member), ("ZADD", key, "GT", "CH", self.number(), member),
            ("ZINCRBY", key, self.number() / 4, member), ("ZREM", key, member), ("ZPOPMIN", key),
            ("ZPOPMAX", key, 2), ("ZMPOP", 1, key, "MIN", "COUNT", 2),
            ("ZRANGESTORE", self.name("zset"), key, 0, 20), ("ZREMRANGEBYRANK", key, 250, -1),
            ("ZUNIONSTORE", self.name("zset"), 2, key, other, "WEIGHTS", 1, 2),
            ("ZREMRANGEBYSCORE", key, -3, 3),
            ("GEOADD", self.name("geo"), self.chance.uniform(-170, 170), self.chance.uniform(-80, 80), member),
            ("GEOSEARCHSTORE", self.name("geo"), self.name("geo"), "FROMLONLAT", 10, 10, "BYRADIUS", 3000, "km"),
        ])]

    def streams(self):
        key, pick = self.name("stream", 20), self.chance.choice
        return pick([
            [("XADD", key, "*", "f", self.word(), "g", self.number())],
            [("XADD", key, "MAXLEN", "~", 200, "*", "f", self.word())],
            [("XADD", key, "NOMKSTREAM", "MAXLEN", "=", 150, "*", "f", self.number())],
            [("XTRIM", key, "MAXLEN", 100)],
            [("XGROUP", "CREATE", key, "group", "0", "MKSTREAM")],
            [("XREADGROUP", "GROUP", "group", "c%d" % self.chance.randrange(3), "COUNT", 5,
              "STREAMS", key, ">")],
            [("XAUTOCLAIM", key, "group", "c0", 0, "0", "COUNT", 3)],
            [("XGROUP", "DELCONSUMER", key, "group", "c2")],
            [("XSETID", key, "99999999999999-0")] if self.chance.random() < 0.001 else [],
        ])

    def others(self):
        key = self.name("string", 2000)
        return [self.chance.choice([
            ("EVAL", SCRIPT, 2, key, self.name("number"), self.word(), self.chance.randrange(100, 90_000)),
            ("EVAL", "return redis.call('SPOP', KEYS[1])", 1, self.name("set")),
            ("FCALL", "bump", 1, self.name("number"), self.number()),
            ("PUBLISH", "channel", self.word()),
        ])]

    def expiries(self):
        kind = self.chance.choice(("string", "list", "set", "hash", "zset", "stream"))
        key = self.name(kind, 100)
        return [self.chance.choice([
            ("EXPIRE", key, self.chance.randrange(1, 600)), ("PEXPIRE", key, self.chance.randrange(1, 5000)),
            ("PERSIST", key), ("EXPIRE", key, 1000, "GT"),
            ("EXPIREAT", key, int(time.time()) + self.chance.randrange(-2, 500)),
        ])]

    def whole_keys(self):
        kind = self.chance.choice(("string", "list", "set", "hash", "zset", "stream"))
        key, other = self.name(kind, 100), self.name(kind, 100)
        roll = self.chance.random()
        if roll < 0.002:
            return [("SWAPDB", 1, 2)]
        if roll < 0.0025:
            return [("SELECT", 2), ("FLUSHDB",), ("SELECT", 0)]
        return self.chance.choice([
            [("RENAME", key, other)], [("COPY", key, other, "REPLACE")], [("DEL", key)],
            [("UNLINK", key, other)], [("SELECT", self.chance.randrange(DATABASES))],
            [("MOVE", key, self.chance.randrange(DATABASES))],
            [("COPY", key, other, "DB", self.chance.randrange(DATABASES))],
        ])

    def transactions(self):
        inner = self.strings() + self.lists() + self.hashes() + self.sets()
        return [("MULTI",), *inner, ("EXEC",)]


def content(node):
    """Every key of every database: {(db, key): (type, expiry, value)}, in a form to compare."""
    client, found = node.client(120.0), {}
    try:
        for db in range(DATABASES):
            client.command("SELECT", db)
            keys, cursor = set(), b"0"
            while True:
                cursor, part = client.command("SCAN", cursor, "COUNT", 1000)
                keys.update(part)
                if cursor == b"0":
                    break
            keys = sorted(keys)
            for start in range(0, len(keys), 200):
                part = keys[start : start + 200]
                kinds = client.pipeline([("TYPE", key) for key in part])
                there = [(key, kind) for key, kind in zip(part, kinds) if kind != "none"]
                expiries = client.pipeline([("PEXPIRETIME", key) for key, _ in there])
                for (key, kind), expiry in zip(there, expiries):
                    found[db, key] = (kind, expiry, _value(client, kind, key))
    finally:
        client.close()
    return found


def at(moment_ms, found):
    """What of a content is left at a moment, expiry being what takes things away."""
    left = {}
    for key, (kind, expiry, value) in found.items():
        if kind == "hash" and value is not None:
            value = [item for item in value if not 0 <= item[2] <= moment_ms]
        if value and not 0 <= expiry <= moment_ms:
            left[key] = (kind, expiry, value)
    return left


def _value(client, kind, key):
    if kind == "string":
        return client.command("GET", key) or b""
    if kind == "list":
        return client.command("LRANGE", key, 0, -1)
    if kind == "set":
        return sorted(client.command("SMEMBERS", key))
    if kind == "zset":
        return client.command("ZRANGE", key, 0, -1, "WITHSCORES")
    if kind == "hash":
        flat = client.command("HGETALL", key)
        fields = flat[::2]
        try:
            expiries = client.command("HPEXPIRETIME", key, "FIELDS", len(fields), *fields)
        except ReplyError:  # Redis 7.0 has none; or the hash has just expired
            expiries = [-1] * len(fields)
        return sorted(zip(fields, flat[1::2], expiries))
    return _stream(client, key)


def _stream(client, key):
    try:
        about = client.command("XINFO", "STREAM", key)
        # Name, pending and last id; consumers' clocks are each server's own.
        groups = sorted(
            (group[1], group[5], group[7]) for group in client.command("XINFO", "GROUPS", key)
        )
        pending = [
            sorted((p[0], p[1], p[3]) for p in client.command("XPENDING", key, name, "-", "+", 1000))
            for name, _, _ in groups
        ]
    except ReplyError:  # it has just expired
        return None
    last = about[about.index(b"last-generated-id") + 1]
    return client.command("XRANGE", key, "-", "+"), last, groups, pending

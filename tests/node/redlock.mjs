// Redlock: one holder at a time, extension, and a lock that ends by itself.
import assert from "node:assert/strict";
import { load, port } from "./programs.mjs";

const { default: Redis } = await load("ioredis");
const { default: Redlock } = await load("redlock");

const client = new Redis({ port });
const patient = new Redlock([client], { retryCount: 2000, retryDelay: 10, retryJitter: 10 });
const hasty = new Redlock([client], { retryCount: 0 });

const lock = await hasty.lock("locks:a", 60_000);
await assert.rejects(hasty.lock("locks:a", 60_000), /LockError|exceeded/);
const left = await client.pttl("locks:a");
assert.ok(left > 0 && left <= 60_000);
const longer = await lock.extend(600_000);
assert.ok((await client.pttl("locks:a")) > 60_000);
await longer.unlock();
assert.equal(await client.exists("locks:a"), 0);
await assert.rejects(longer.unlock());

// Another's lock is not undone by a holder that has lost it.
const lost = await hasty.lock("locks:a", 600_000);
await client.set("locks:a", "another's");
await assert.rejects(lost.unlock());
assert.equal(await client.get("locks:a"), "another's");
await client.del("locks:a");

// Several resources at once, all or none.
const both = await hasty.lock(["locks:b", "locks:c"], 600_000);
await assert.rejects(hasty.lock(["locks:c", "locks:d"], 600_000));
assert.equal(await client.exists("locks:d"), 0);
await both.unlock();

// Twenty at once: never two inside.
let inside = 0;
let done = 0;
await Promise.all(
  Array.from({ length: 20 }, async () => {
    const held = await patient.lock("locks:e", 600_000);
    assert.equal(++inside, 1);
    await client.incr("counter");
    inside -= 1;
    done += 1;
    await held.unlock();
  }),
);
assert.equal(done, 20);
assert.equal(await client.get("counter"), "20");

// A lock that nobody gives back ends with its time.
await hasty.lock("locks:f", 600_000);
await client.pexpire("locks:f", 20);
await (await patient.lock("locks:f", 600_000)).unlock();
process.exit(0);

// connect-redis below express-session: what one request stores another finds; logging out ends it.
import assert from "node:assert/strict";
import http from "node:http";
import { load, port } from "./programs.mjs";

const { createClient } = await load("redis");
const { RedisStore } = await load("connect-redis");
const { default: session } = await load("express-session");

const client = createClient({ socket: { host: "127.0.0.1", port } });
await client.connect();
const store = new RedisStore({ client, prefix: "session:", ttl: 600 });
const sessions = session({ store, secret: "for a test", resave: false, saveUninitialized: false });
const server = http.createServer((request, response) => {
  sessions(request, response, () => {
    if (request.url === "/leave") {
      request.session.destroy(() => response.end("gone"));
      return;
    }
    request.session.visits = (request.session.visits ?? 0) + 1;
    response.end(String(request.session.visits));
  });
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const base = `http://127.0.0.1:${server.address().port}`;

async function visit(path, cookie) {
  const response = await fetch(base + path, { headers: cookie ? { cookie } : {} });
  return { text: await response.text(), cookie: response.headers.get("set-cookie") };
}

const first = await visit("/");
assert.equal(first.text, "1");
const cookie = first.cookie.split(";")[0];
assert.equal((await visit("/", cookie)).text, "2");
assert.equal((await visit("/", cookie)).text, "3");
assert.equal((await visit("/")).text, "1");
const keys = await client.keys("session:*");
assert.equal(keys.length, 2);
const ttl = await client.ttl(keys[0]);
assert.ok(ttl > 0 && ttl <= 600);
const ids = await new Promise((resolve, reject) =>
  store.ids((error, found) => (error ? reject(error) : resolve(found))),
);
assert.equal(ids.length, 2);
assert.equal((await visit("/leave", cookie)).text, "gone");
assert.equal((await visit("/", cookie)).text, "1");
await store.clear();
assert.equal((await client.keys("session:*")).length, 0);
process.exit(0);

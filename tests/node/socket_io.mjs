// socket.io with its Redis adapter: two servers that know each other by pub/sub alone.
import assert from "node:assert/strict";
import http from "node:http";
import { once } from "node:events";
import { load, port } from "./programs.mjs";

const { default: Redis } = await load("ioredis");
const { Server } = await load("socket.io");
const { io } = await load("socket.io-client");
const adapters = await load("@socket.io/redis-adapter");

async function start(create) {
  const publisher = new Redis({ port });
  const subscriber = publisher.duplicate();
  await Promise.all([publisher.ping(), subscriber.ping()]);
  const web = http.createServer();
  const server = new Server(web, { adapter: create(publisher, subscriber) });
  server.on("connection", (socket) => {
    socket.on("join", async (room, done) => {
      await socket.join(room);
      done();
    });
  });
  web.listen(0, "127.0.0.1");
  await once(web, "listening");
  const client = io(`http://127.0.0.1:${web.address().port}`, { transports: ["websocket"] });
  await once(client, "connect");
  return { server, client };
}

async function scenario(create, listening) {
  const a = await start(create);
  const b = await start(create);
  // The servers find one another once each has subscribed.
  while ((await a.server.fetchSockets()).length < 2) await new Promise(setImmediate);
  while ((await b.server.fetchSockets()).length < 2) await new Promise(setImmediate);

  const everywhere = [once(a.client, "news"), once(b.client, "news")];
  a.server.emit("news", { text: "hello", bytes: Buffer.from([0, 255]) });
  for (const [message] of await Promise.all(everywhere)) {
    assert.equal(message.text, "hello");
    assert.deepEqual([...new Uint8Array(message.bytes)], [0, 255]);
  }

  await b.client.emitWithAck("join", "room");
  // An adapter with a channel for each room does not wait until it listens there.
  await listening("room");
  const inRoom = once(b.client, "only");
  a.client.on("only", () => assert.fail("not in the room"));
  a.server.to("room").emit("only", 1);
  assert.deepEqual(await inRoom, [1]);

  b.client.on("question", (n, answer) => answer(n + 1));
  assert.deepEqual(await a.server.to("room").timeout(60_000).emitWithAck("question", 41), [42]);

  const asked = new Promise((resolve) => {
    b.server.on("word", (text, answer) => {
      answer("heard");
      resolve(text);
    });
  });
  const answers = await a.server.serverSideEmitWithAck("word", "sent");
  assert.deepEqual(answers, ["heard"]);
  assert.equal(await asked, "sent");

  const ended = once(b.client, "disconnect");
  a.server.in("room").disconnectSockets();
  await ended;
  while ((await a.server.fetchSockets()).length > 1) await new Promise(setImmediate);
  a.client.close();
  await Promise.all([a.server.close(), b.server.close()]);
}

const patience = { requestsTimeout: 60_000 };
await scenario(
  (publisher, subscriber) => adapters.createAdapter(publisher, subscriber, patience),
  () => {},
);
const observer = new Redis({ port });
await scenario(
  (publisher, subscriber) => adapters.createShardedAdapter(publisher, subscriber),
  async (room) => {
    const ofRoom = (channel) => channel.includes(`#${room}#`);
    while (!(await observer.pubsub("SHARDCHANNELS")).some(ofRoom)) await new Promise(setImmediate);
  },
);
process.exit(0);

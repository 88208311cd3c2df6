// BullMQ: jobs with priorities, delays, retries, and a parent that waits for its children.
import assert from "node:assert/strict";
import { load, port } from "./programs.mjs";

const { FlowProducer, Queue, QueueEvents, Worker } = await load("bullmq");
const connection = { host: "127.0.0.1", port, maxRetriesPerRequest: null };

const events = new QueueEvents("work", { connection });
await events.waitUntilReady();
const queue = new Queue("work", { connection });
const order = [];
let failures = 0;

await queue.pause();
await queue.add("plain", { n: 1 }, { priority: 3 });
await queue.add("urgent", { n: 2 }, { priority: 1 });
const flaky = await queue.add("flaky", {}, { attempts: 3, backoff: { type: "fixed", delay: 5 } });
const delayed = await queue.add("delayed", { n: 3 }, { delay: 50 });
const broken = await queue.add("broken", {}, { attempts: 1 });
const bulk = await queue.addBulk(
  Array.from({ length: 50 }, (_, n) => ({ name: "bulk", data: { n }, opts: { priority: 10 } })),
);
const same = await queue.add("once", {}, { jobId: "only-one", priority: 20 });
await queue.add("once", {}, { jobId: "only-one", priority: 20 });
assert.equal((await queue.getJobCounts("delayed")).delayed, 1);
assert.equal(await queue.isPaused(), true);

const worker = new Worker(
  "work",
  async (job) => {
    order.push(job.name);
    if (job.name === "flaky" && ++failures < 3) throw new Error("not yet");
    if (job.name === "broken") throw new Error("no use");
    await job.updateProgress(100);
    return (job.data.n ?? 0) * 2;
  },
  { connection, concurrency: 1 },
);
await queue.resume();
const results = await Promise.all(bulk.map((job) => job.waitUntilFinished(events)));
assert.deepEqual(results, Array.from({ length: 50 }, (_, n) => n * 2));
assert.equal(await flaky.waitUntilFinished(events), 0);
assert.equal(failures, 3);
assert.equal(await delayed.waitUntilFinished(events), 6);
await assert.rejects(broken.waitUntilFinished(events), /no use/);
await same.waitUntilFinished(events);
assert.ok(order.indexOf("urgent") < order.indexOf("plain"));
assert.ok(order.indexOf("plain") < order.indexOf("bulk"));
assert.equal(order.filter((name) => name === "once").length, 1);
const counts = await queue.getJobCounts();
assert.equal(counts.completed, 55);
assert.equal(counts.failed, 1);
assert.equal(counts.waiting + counts.active + counts.delayed + counts.prioritized, 0);

const flow = new FlowProducer({ connection });
const tree = await flow.add({
  name: "parent",
  queueName: "work",
  children: [1, 2, 3].map((n) => ({ name: "child", data: { n }, queueName: "work" })),
});
await tree.job.waitUntilFinished(events);
const children = Object.values(await tree.job.getChildrenValues());
assert.deepEqual(children.sort(), [2, 4, 6]);
assert.ok(order.lastIndexOf("child") < order.indexOf("parent"));

await worker.close();
await queue.obliterate({ force: true });
assert.deepEqual(await queue.getJobCounts("completed", "failed"), { completed: 0, failed: 0 });
process.exit(0);

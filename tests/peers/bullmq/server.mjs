// What a team would build today instead of a gateway: Express takes a webhook, checks its HMAC over
// the raw body, puts a job into BullMQ, answers 202; a worker turns a payment into `order.paid`, as
// our payments plugin does. It promises what Hookweir promises as far as it can: Redis syncs every
// write before it answers, a job is tried five times, a delivery id counts once for 72 hours.
//
// Prints one line of JSON when it is ready, then serves until SIGTERM. See ../README.md.
import { fork } from "node:child_process";
import { createHmac, timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

import { Queue } from "bullmq";
import express from "express";

import { startRedis } from "./redis.mjs";
import { NAME, startWorker } from "./worker.mjs";

const env = process.env;
env.NODE_ENV ??= "production";
const port = Number(env.PORT ?? 0);
const secret = env.WEBHOOK_SECRET ?? "bench-secret";
const ownWorker = (env.WORKER ?? "inline") === "own";
const dedupeSeconds = Number(env.DEDUPE_SECONDS ?? 72 * 3600);

// Same length first: timingSafeEqual throws otherwise, and the length of a digest is no secret.
function isSigned(body, header) {
  const expected = Buffer.from(`sha256=${createHmac("sha256", secret).update(body).digest("hex")}`);
  const given = Buffer.from(header ?? "");
  return given.length === expected.length && timingSafeEqual(given, expected);
}

function makeApp(queue, stats) {
  const app = express();
  app.use("/webhooks", express.raw({ type: () => true, limit: "1mb" }));

  app.post("/webhooks/payments", async (request, response) => {
    if (!Buffer.isBuffer(request.body) || !isSigned(request.body, request.get("x-hub-signature-256"))) {
      return response.status(401).json({ error: "bad or missing signature" });
    }
    const id = request.get("x-github-delivery");
    if (!id) return response.status(400).json({ error: "no delivery id" });
    // BullMQ adds nothing for an id that it has, which is the whole of the dedupe. Its own ids are
    // numbers and its keys are joined by colons, hence the prefix and the encoding.
    await queue.add("payment", request.body.toString("utf8"), { jobId: `d-${encodeURIComponent(id)}` });
    stats.accepted += 1;
    response.status(202).json({ accepted: true, id });
  });

  app.get("/stats", (_request, response) => response.json(stats));
  return app;
}

async function startWorkerProcess(connection, stats) {
  const child = fork(fileURLToPath(new URL("./worker.mjs", import.meta.url)), [], {
    env: { ...env, REDIS_HOST: connection.host, REDIS_PORT: String(connection.port) },
  });
  child.on("message", (counts) => Object.assign(stats, counts));
  child.on("exit", (code) => {
    if (code) throw new Error(`the worker's process ended with ${code}`);
  });
  await once(child, "message");
  return {
    pid: child.pid,
    close: async () => {
      child.kill("SIGTERM");
      await once(child, "exit");
    },
  };
}

async function main() {
  const redis = await startRedis();
  const connection = { host: redis.host, port: redis.port };
  const stats = { accepted: 0, done: 0, failed: 0, dead: 0 };
  const queue = new Queue(NAME, {
    connection,
    defaultJobOptions: {
      attempts: 5,
      backoff: { type: "exponential", delay: 1000 },
      removeOnComplete: { age: dedupeSeconds },
      removeOnFail: false,
    },
  });
  const worker = ownWorker
    ? await startWorkerProcess(connection, stats)
    : await startWorker(connection, stats);
  const server = makeApp(queue, stats).listen(port, "127.0.0.1");
  await once(server, "listening");

  let stopping = false;
  const stop = async () => {
    if (stopping) return;
    stopping = true;
    server.close();
    server.closeAllConnections();
    await worker.close();
    await queue.close();
    await redis.stop();
    process.exit(0);
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);

  const pids = { server: process.pid, redis: redis.pid, worker: worker.pid ?? process.pid };
  const url = `http://127.0.0.1:${server.address().port}`;
  console.log(JSON.stringify({ url, webhook: `${url}/webhooks/payments`, stats: `${url}/stats`, pids }));
}

main().catch((error) => {
  console.error(`error: ${error.message}`);
  process.exit(1);
});

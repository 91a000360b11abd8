// The worker: a payment becomes an order that is paid. In the server's process, or, when this file is
// the program, in a process of its own that reports its counts to its parent.
import { fileURLToPath } from "node:url";

import { UnrecoverableError, Worker } from "bullmq";
import Redis from "ioredis";

export const NAME = "payments";
const CONCURRENCY = 50;
const REPORT_MS = 50;

// Orders are kept as long as plugins/payments keeps them: 90 days, in seconds.
const KEPT_S = 90 * 86_400;

// What plugins/payments does with `payment_intent.succeeded` and `payment_intent.payment_failed`: the order's
// state is kept in Redis, and `order.paid` comes of what is paid for the first time. It is kept beside the
// job's end, not with it: a process that dies between the two has told nobody of an order that is paid.
export async function handle(redis, text, jobId, attempt) {
  let event;
  try {
    event = JSON.parse(text);
  } catch (error) {
    throw new UnrecoverableError(`the body is no JSON: ${error.message}`);
  }
  const intent = event?.data?.object;
  const order = intent?.metadata?.order_id;
  if (!order) throw new UnrecoverableError("no metadata.order_id: not a payment of the shop's");
  const paid = event.type !== "payment_intent.payment_failed";
  if (paid && attempt <= failures(intent.metadata.downstream)) {
    throw new Error(`fulfilment of order ${order} is not answering`);
  }
  const status = paid ? "paid" : "failed";
  if (!(await keep(redis, order, { status, payment: intent.id, at: event.created }))) return {};
  if (!paid) {
    const reason = intent.last_payment_error?.code ?? "unknown";
    return { type: "order.payment_failed", order, payment: intent.id, reason };
  }
  return {
    type: "order.paid",
    order,
    payment: intent.id,
    customer: intent.customer ?? null,
    amount: intent.amount_received,
    currency: intent.currency,
    fulfilment: { requested: true, idempotency_key: jobId },
  };
}

// Keeps news of an order; answers whether it was some.
async function keep(redis, order, news) {
  const key = `order:${order}`;
  const known = JSON.parse((await redis.get(key)) ?? "null");
  if (known?.status === "paid") return false;
  if (known && news.status !== "paid" && (known.at > news.at || known.payment === news.payment)) return false;
  await redis.set(key, JSON.stringify(news), "EX", KEPT_S);
  return true;
}

function failures(downstream) {
  if (downstream === undefined || downstream === null) return 0;
  if (downstream === "fail-once") return 1;
  const count = /^fail:(\d+)$/.exec(downstream)?.[1];
  if (count === undefined) throw new UnrecoverableError("metadata.downstream is not `fail-once` or `fail:N`");
  return Number(count);
}

// What a job returns BullMQ keeps with it, so the result is stored in the same step that marks it done.
export async function startWorker(connection, stats) {
  // The worker's own connection serves its blocking commands; this one is for what its jobs read and write.
  const redis = new Redis(connection);
  const run = async (job) => handle(redis, job.data, job.id, job.attemptsMade + 1);
  const worker = new Worker(NAME, run, { connection, concurrency: CONCURRENCY });
  worker.on("closed", () => redis.disconnect());
  worker.on("completed", () => (stats.done += 1));
  worker.on("failed", (job, error) => {
    stats.failed += 1;
    if (error instanceof UnrecoverableError || (job && job.attemptsMade >= job.opts.attempts)) stats.dead += 1;
  });
  worker.on("error", (error) => console.error(`worker: ${error.message}`));
  await worker.waitUntilReady();
  return worker;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const stats = { done: 0, failed: 0, dead: 0 };
  const connection = { host: process.env.REDIS_HOST, port: Number(process.env.REDIS_PORT) };
  const worker = await startWorker(connection, stats);
  const report = () => process.connected && process.send(stats);
  report();
  setInterval(report, REPORT_MS).unref();
  const stop = async () => {
    await worker.close();
    report();
    process.exit(0);
  };
  process.on("SIGTERM", stop);
  process.on("disconnect", stop);
  // A terminal's Ctrl-C reaches this process too; the parent says when to stop.
  process.on("SIGINT", () => {});
}

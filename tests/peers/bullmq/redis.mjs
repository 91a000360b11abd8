// A Redis of its own for each run: a free port of the loopback, a folder that goes with it, and every
// write synced before it is answered, since that is what a 2xx of the gateway means.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import Redis from "ioredis";

const HOST = "127.0.0.1";
const START_MS = 10_000;

async function freePort() {
  const probe = createServer().listen(0, HOST);
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  await once(probe, "close");
  return port;
}

async function answers(port) {
  const client = new Redis(port, HOST, { lazyConnect: true, retryStrategy: () => null });
  client.on("error", () => {});
  try {
    await client.connect();
    return (await client.ping()) === "PONG";
  } catch {
    return false;
  } finally {
    client.disconnect();
  }
}

export async function startRedis() {
  const port = await freePort();
  // REDIS_DIR: the folder to measure on, if the temporary one is not a disk.
  const dir = mkdtempSync(join(process.env.REDIS_DIR ?? tmpdir(), "hookweir-peer-redis-"));
  const args = ["--bind", HOST, "--port", String(port), "--dir", dir, "--save", ""];
  args.push("--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction");
  const child = spawn("redis-server", args, { stdio: ["ignore", "ignore", "inherit"] });
  const remove = () => rmSync(dir, { recursive: true, force: true });
  process.on("exit", () => {
    child.kill("SIGKILL");
    remove();
  });
  let failure;
  child.on("error", (error) => (failure = error));
  const deadline = Date.now() + START_MS;
  while (!(await answers(port))) {
    if (failure?.code === "ENOENT") {
      throw new Error("redis-server is not installed: apt-get install redis-server");
    }
    if (failure || child.exitCode !== null || Date.now() > deadline) {
      throw failure ?? new Error(`redis-server does not answer on port ${port}`);
    }
    await sleep(50);
  }
  const stop = async () => {
    child.kill("SIGTERM");
    if (child.exitCode === null) await once(child, "exit");
  };
  return { host: HOST, port, pid: child.pid, stop };
}

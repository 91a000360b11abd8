// The gateway in memory, for `npm test`: `node --import` loads this first, and the plugin's imports of
// `hookweir:plugin/…` lead here. Each test makes a `Host` with what it needs and looks at what came of it.

import { register } from "node:module";

const FUNCTIONS = {
  log: ["write"],
  config: ["get", "all"],
  secrets: ["get"],
  clock: ["nowMs", "monotonicNs"],
  random: ["bytes"],
  state: ["get", "set", "setIfAbsent", "increment", "_delete as delete", "listKeys"],
  http: ["send", "sendAll"],
};

// Runs in a thread of its own and so is a text: it makes a module of each interface.
const HOOKS = `
const functions = ${JSON.stringify(FUNCTIONS)};
export function resolve(specifier, context, next) {
  const found = /^hookweir:plugin\\/([a-z]+)@1\\./.exec(specifier);
  return found ? { url: "memory:" + found[1], shortCircuit: true } : next(specifier, context);
}
export function load(url, context, next) {
  if (!url.startsWith("memory:")) return next(url, context);
  const name = url.slice("memory:".length);
  const line = (written) => {
    const [own, shown] = written.split(" as ");
    return "const " + own + " = (...given) => globalThis.hookweir." + name + "." + own + "(...given);"
      + "export { " + own + " as " + (shown ?? own) + " };";
  };
  return { format: "module", source: functions[name].map(line).join("\\n"), shortCircuit: true };
}`;
register(`data:text/javascript,${encodeURIComponent(HOOKS)}`);

const utf8 = (text) => new TextEncoder().encode(text);

/** What the plugin is lent: a config, a state, a clock, and answers to its requests. */
export class Host {
  constructor({ config = {}, state = {}, answers = {}, nowMs = 1_700_000_000_000 } = {}) {
    this.logs = [];
    this.requests = [];
    this.kept = new Map(Object.entries(state).map(([key, value]) => [key, utf8(value)]));
    const shown = (value) => (typeof value === "string" ? value : JSON.stringify(value));
    const number = (key) => BigInt(this.text(key) ?? 0);
    const set = (key, value) => void this.kept.set(key, value);
    const answer = (request) => {
      this.requests.push(request);
      const { status = 200, headers = {}, body = "", error } = answers[`${request.method} ${request.url}`] ?? {
        error: { code: "denied", message: `no answer for ${request.method} ${request.url}`, retryable: false },
      };
      if (error) throw Object.assign(new Error(error.message), { payload: { attributes: [], ...error } });
      const listed = Object.entries(headers).map(([name, value]) => [name, utf8(value)]);
      return { status, headers: listed, body: utf8(body), attributes: [] };
    };
    globalThis.hookweir = {
      log: { write: (level, message, fields) => void this.logs.push({ level, message, fields: Object.fromEntries(fields) }) },
      config: { get: (key) => (key in config ? shown(config[key]) : undefined), all: () => JSON.stringify(config) },
      secrets: { get: (name) => `secret ${name}` },
      clock: { nowMs: () => BigInt(nowMs), monotonicNs: () => BigInt(nowMs) * 1_000_000n },
      random: { bytes: (length) => new Uint8Array(length).fill(7) },
      state: {
        get: (key) => this.kept.get(key),
        set,
        setIfAbsent: (key, value) => !this.kept.has(key) && (set(key, value), true),
        increment: (key, by) => (set(key, utf8(String(number(key) + by))), number(key)),
        _delete: (key) => this.kept.delete(key),
        listKeys: (prefix, after, limit) =>
          [...this.kept.keys()].filter((key) => key.startsWith(prefix) && (!after || key > after)).sort().slice(0, limit),
      },
      http: {
        send: answer,
        sendAll: (requests) =>
          requests.map((request) => {
            try {
              return { tag: "ok", val: answer(request) };
            } catch (error) {
              return { tag: "err", val: error.payload };
            }
          }),
      },
    };
  }

  /** What the state holds under a key. */
  text(key) {
    const value = this.kept.get(key);
    return value && new TextDecoder().decode(value);
  }
}

/** An event as a source sends it. A body that is no text is written as JSON. */
export function event(source, eventType, body, more = {}) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const made = { id: "0190c2f0-0000-7000-8000-000000000001", attempt: 1, receivedAtMs: 1_700_000_000_000n };
  const request = { method: "POST", path: `/webhooks/${source}`, headers: [], body: utf8(text), attributes: [] };
  return { ...made, ...request, source, eventType, ...more };
}

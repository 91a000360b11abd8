// Labels new GitHub issues by what they say: "crash" makes a `bug`, "how do I" a `question`.
//
// The rules are the operator's (`config = { labels = { bug = ["crash"], .. } }`); the token is put into the
// request by the gateway and never seen here.

import { get as setting } from "hookweir:plugin/config@1.0.0";
import { send } from "hookweir:plugin/http@1.0.0";
import { write } from "hookweir:plugin/log@1.0.0";
import { increment } from "hookweir:plugin/state@1.0.0";

const LABELS = {
  bug: ["crash", "exception", "broken", "regression"],
  documentation: ["readme", "typo", "documentation"],
  question: ["how do i", "how can i", "is it possible"],
};

export const handler = {
  /** Called for each event; what it returns are events of its own, kept together with its state or not at all. */
  handle(event) {
    const { action, issue, repository } = json(event.body);
    if (action !== "opened") return [];
    if (!issue?.number || !repository?.full_name) throw reject("no issue in it");

    const text = `${issue.title}\n${issue.body ?? ""}`.toLowerCase();
    const rules = Object.entries(JSON.parse(setting("labels") ?? "null") ?? LABELS);
    const labels = rules.filter(([, words]) => words.some((word) => text.includes(word))).map(([label]) => label);
    if (labels.length === 0) return [];

    const api = setting("api") ?? "https://api.github.com";
    post(`${api}/repos/${repository.full_name}/issues/${issue.number}/labels`, { labels });
    for (const label of labels) increment(`labelled:${label}`, 1n, undefined);
    write("info", "labelled", [["issue", `${repository.full_name}#${issue.number}`], ["labels", labels.join(" ")]]);
    return [output("issue.labelled", { repository: repository.full_name, issue: issue.number, labels })];
  },
};

/** Sends JSON. No answer, 429 and 5xx: try again, when the other side says; any other refusal: never. */
function post(url, value) {
  const request = {
    method: "POST",
    url,
    headers: [["content-type", utf8("application/json")], ["user-agent", utf8("hookweir-js-labels")]],
    secretHeaders: [["authorization", "Bearer {GITHUB_TOKEN}"]],
    body: utf8(JSON.stringify(value)),
    timeoutMs: 5000,
    attributes: [],
  };
  let answer;
  try {
    answer = send(request);
  } catch ({ payload }) {
    throw (payload.retryable ? retry : reject)(`GitHub: ${payload.message}`);
  }
  if (answer.status < 300) return;
  const wait = answer.headers.find(([name]) => name.toLowerCase() === "retry-after")?.[1];
  const again = answer.status === 429 || answer.status >= 500 || wait;
  throw (again ? retry : reject)(`GitHub answered ${answer.status}`, wait && Number(text(wait)) * 1000);
}

const utf8 = (text) => new TextEncoder().encode(text);
const text = (bytes) => new TextDecoder().decode(bytes);

/** A body that is no JSON never will be: rejected, without a word of what is in it. */
function json(bytes) {
  try {
    return JSON.parse(text(bytes));
  } catch {
    throw reject("the body is not JSON");
  }
}

function output(eventType, value) {
  return { eventType, headers: [["content-type", utf8("application/json")]], body: utf8(JSON.stringify(value)), attributes: [] };
}

/** Thrown: this event is tried again, after at least so many milliseconds. */
const retry = (message, afterMs) => failure("retry", message, afterMs);
/** Thrown: this event is a dead letter at once. */
const reject = (message) => failure("reject", message);

function failure(kind, message, afterMs) {
  const retryAfterMs = Number.isFinite(afterMs) ? BigInt(Math.ceil(afterMs)) : undefined;
  return Object.assign(new Error(message), { payload: { kind, message, retryAfterMs, attributes: [] } });
}

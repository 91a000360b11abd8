import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import test from "node:test";

import { handler } from "./plugin.js";
import { event, Host } from "./testing/host.js";

const opened = JSON.parse(await readFile(new URL("./samples/issues.opened.json", import.meta.url), "utf8"));
const URL_OF_LABELS = `POST https://api.github.com/repos/${opened.repository.full_name}/issues/${opened.issue.number}/labels`;
const issue = (body) => event("github", "issues", body);
const fails = (body, kind) =>
  assert.throws(() => handler.handle(issue(body)), ({ payload }) => payload.kind === kind);

test("a new issue is labelled by its words", () => {
  const host = new Host({ answers: { [URL_OF_LABELS]: { status: 200 } } });
  const [output, ...more] = handler.handle(issue(opened));
  assert.equal(more.length, 0);
  assert.equal(output.eventType, "issue.labelled");
  assert.deepEqual(JSON.parse(new TextDecoder().decode(output.body)).labels, ["documentation"]);
  assert.deepEqual(host.requests[0].secretHeaders, [["authorization", "Bearer {GITHUB_TOKEN}"]]);
  assert.equal(new TextDecoder().decode(host.requests[0].body), '{"labels":["documentation"]}');
  assert.equal(host.text("labelled:documentation"), "1");
  assert.equal(host.logs[0].fields.labels, "documentation");
});

test("the operator's rules replace the plugin's own", () => {
  const host = new Host({ config: { labels: { typo: ["spelling"] } }, answers: { [URL_OF_LABELS]: {} } });
  assert.equal(handler.handle(issue(opened)).length, 1);
  assert.equal(host.text("labelled:typo"), "1");
});

test("what needs no label is left alone", () => {
  const host = new Host();
  assert.deepEqual(handler.handle(issue({ ...opened, action: "closed" })), []);
  assert.deepEqual(handler.handle(issue({ ...opened, issue: { number: 1, title: "Hello" } })), []);
  assert.equal(host.requests.length, 0);
});

test("GitHub that is busy is asked again when it says; one that refuses is not", () => {
  for (const [answer, kind, retryAfterMs] of [
    [{ status: 503 }, "retry", undefined],
    [{ status: 429, headers: { "Retry-After": "7" } }, "retry", 7000n],
    [{ error: { code: "timeout", message: "no answer", retryable: true } }, "retry", undefined],
    [{ status: 404 }, "reject", undefined],
    [{ error: { code: "denied", message: "not granted", retryable: false } }, "reject", undefined],
  ]) {
    const host = new Host({ answers: { [URL_OF_LABELS]: answer } });
    assert.throws(
      () => handler.handle(issue(opened)),
      ({ payload }) => payload.kind === kind && payload.retryAfterMs === retryAfterMs,
    );
    assert.equal(host.text("labelled:documentation"), undefined);
  }
});

test("what is malformed is rejected", () => {
  new Host();
  fails("no json", "reject");
  fails({ action: "opened" }, "reject");
});

test("each sample comes to what it says", async () => {
  const samples = new URL("./samples/", import.meta.url);
  const names = (await readdir(samples)).filter((name) => /^event\..*\.json$/.test(name));
  assert.equal(names.length, 4);
  for (const name of names) {
    const { source, type, body, state, http, expect } = JSON.parse(await readFile(new URL(name, samples), "utf8"));
    new Host({ state, answers: http });
    let came = "done";
    try {
      handler.handle(event(source, type, body));
    } catch ({ payload }) {
      came = payload.kind;
    }
    assert.equal(came, expect, name);
  }
});

/** Starts `stack.py` or `own_school.py` and speaks with it. Knows no browser. */

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const venv = at("../../.venv/bin/python");

/**
 * A stack of one's own: `url`, `passwordOf(email)`, `kill`, `start`, `restart`, `mend`,
 * `holdClass(pace, pastDays)` and `close`. What it logs goes to the files of its directory; what goes
 * wrong at its start is in the error.
 */
export async function startStack({ learners = 12 } = {}) {
  const { said, ask, close } = await startScript("stack.py", String(learners));
  return {
    url: said.url,
    passwordOf: (email) => said.people[email],
    kill: (...names) => ask("kill", ...names),
    start: (...names) => ask("start", ...names),
    restart: (name) => ask("restart", name),
    mend: () => ask("mend"),
    holdClass: (pace, pastDays = 0) => ask("class", pace, pastDays),
    close,
  };
}

/**
 * A stack whose people come from a roster and sign in at a provider: `url`, `pupils`,
 * `record(statements)`, `withdrawGuardian()`, `relateGuardian()` and `close`.
 */
export async function startOwnSchool() {
  const { said, ask, close } = await startScript("own_school.py");
  return {
    ...said,
    record: (statements) => ask("record", statements),
    withdrawGuardian: () => ask("withdraw"),
    relateGuardian: () => ask("relate"),
    close,
  };
}

async function startScript(script, ...words) {
  const python = process.env["PYTHON"] ?? (existsSync(venv) ? venv : "python3");
  const child = spawn(python, [at(script), ...words], { stdio: ["pipe", "pipe", "pipe"] });
  let complaints = "";
  child.stderr.on("data", (data) => (complaints = (complaints + data).slice(-4_000)));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ended = new Promise((resolve) => child.once("close", resolve));
  const answer = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`the stack ended:\n${complaints}`);
    const said = JSON.parse(value);
    if (said.failed) throw new Error(said.failed);
    return said;
  };
  const ask = (...words) => {
    child.stdin.write(`${words.join(" ")}\n`);
    return answer();
  };
  return {
    said: await answer(),
    ask,
    close: async () => {
      child.stdin.end();
      await ended;
    },
  };
}

// An internal service's first steps: watch a learner, record an interaction, see the update
// arrive, read its trace id. See ../README.md for how to run it.

import { randomBytes, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";

import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const DEADLINE_MS = 5_000;
const PROTO = fileURLToPath(new URL("../../proto", import.meta.url));

// 64-bit numbers come as strings, which keeps all their digits; enums by name.
const contract = grpc.loadPackageDefinition(
  loadSync("aivo/brain/v1/brain.proto", {
    includeDirs: [PROTO],
    keepCase: true,
    longs: String,
    enums: String,
    defaults: true,
  }),
);

/** Does the three things and prints what came of them. */
async function recordAndWatch(address, credential, learnerId) {
  const brain = new contract.aivo.brain.v1.BrainService(
    address,
    grpc.credentials.createInsecure(),
    {
      // The brain is inside: no proxy that the environment names stands between.
      "grpc.enable_http_proxy": 0,
    },
  );
  const metadata = new grpc.Metadata();
  metadata.set("authorization", `Bearer ${credential}`);
  const deadline = () => ({ deadline: Date.now() + DEADLINE_MS });
  try {
    // 1. Watch: one stream serves any number of learners; ModifyWatch adds and removes some while
    // it is open. It would stay open for ever; this program gives it a deadline instead.
    const watch = brain.WatchState(
      {
        watch_id: randomUUID(),
        cursors: [{ learner_id: learnerId, mode: "DELIVERY_MODE_EVERY" }],
      },
      metadata,
      { deadline: Date.now() + 2 * DEADLINE_MS },
    );
    const responses = watch[Symbol.asyncIterator]();
    const [snapshot] = (await responses.next()).value.snapshots;
    console.log(`watching ${learnerId} from revision ${snapshot.revision}`);

    // 2. Record. The id makes a retry harmless: sent again, it returns the first outcome and moves
    // nothing. A traceparent continues the caller's trace; here a new one is started.
    const record = promisify(brain.RecordInteraction).bind(brain);
    const recorded = await record(
      {
        interaction: {
          interaction_id: `example-${randomUUID()}`,
          learner_id: learnerId,
          kind: "INTERACTION_KIND_QUESTION_RESPONSE",
          content: "What is 3/4 of 24?",
          response: "18",
          context: {
            correct: true,
            difficulty: 3,
            subject: "math",
            skills: ["fractions"],
            time_taken_s: 14.5,
            attempts: 1,
          },
          traceparent: `00-${randomBytes(16).toString("hex")}-${randomBytes(8).toString("hex")}-01`,
        },
      },
      metadata,
      deadline(),
    );
    console.log(`recorded as revision ${recorded.applied.revision}`);

    // 3. The watcher hears of it, with the trace that caused it.
    const update = await updateOf(responses, learnerId, BigInt(recorded.applied.revision));
    console.log(`the watcher saw revision ${update.revision}`);
    console.log(`trace id ${recorded.trace_id}`);
  } finally {
    brain.close();
  }
}

/** Reads the stream until a learner has reached a revision; responses may be mere heartbeats. */
async function updateOf(responses, learnerId, revision) {
  for (;;) {
    const { done, value } = await responses.next();
    if (done) throw new Error("the stream ended; open it again with the cursor reached");
    const reached = (update) =>
      update.learner_id === learnerId && BigInt(update.revision) >= revision;
    const update = value.updates.find(reached);
    if (update) return update;
  }
}

function fail(message) {
  console.error(message);
  process.exit(1);
}

const { values } = parseArgs({
  options: {
    brain: { type: "string", default: "127.0.0.1:8001" },
    "credential-file": { type: "string", default: ".aivo/service-credential" },
    learner: { type: "string", default: "demo-example" },
  },
});
let credential;
try {
  credential = readFileSync(values["credential-file"], "utf8").trim();
} catch (error) {
  fail(`cannot read the service credential (\`make run\` makes one): ${error.message}`);
}
try {
  await recordAndWatch(values.brain, credential, values.learner);
} catch (error) {
  fail(
    error.details === undefined
      ? error.message
      : `the brain answered ${grpc.status[error.code]}: ${error.details}`,
  );
}
process.exit(0); // the watch is still open

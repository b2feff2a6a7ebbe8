// Prints what AsyncAPI's own parser finds in the document on standard input, one JSON line each.

import { text } from "node:stream/consumers";
import { Parser } from "@asyncapi/parser";

const { diagnostics } = await new Parser().parse(await text(process.stdin));
for (const { severity, code, path, message } of diagnostics)
  console.log(JSON.stringify({ severity, code, path, message }));

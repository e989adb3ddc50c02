#!/usr/bin/env node
// Serves a folder of streams on the loopback address until it is ended; prints the address.

import { stat } from "node:fs/promises";
import { resolve } from "node:path";

import { readArgs } from "./lib/cli.mjs";
import { serve } from "./lib/server.mjs";

const { given: [dir] } = readArgs("serve-dir.mjs DIR", 1, {});
if (!(await stat(dir).catch(() => null))?.isDirectory()) {
  console.error(`${dir} is not a folder`);
  process.exit(1);
}
const { origin } = await serve(resolve(dir));
console.log(`${origin}/files/`);

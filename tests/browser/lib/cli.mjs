// Arguments in, one verdict out: every script speaks the same way.

import { parseArgs } from "node:util";

/// What went wrong, in a sentence for a person: the verdict's reason.
export class Failure extends Error {}

/// Reads `argv`; `options` maps a name to its default, whose type says what it takes.
export function readArgs(usage, positionals, options) {
  const spec = Object.fromEntries(
    Object.entries(options).map(([name, value]) => [
      name,
      { type: typeof value === "boolean" ? "boolean" : "string" },
    ]),
  );
  let parsed;
  try {
    parsed = parseArgs({ options: { ...spec, help: { type: "boolean" } }, allowPositionals: true });
  } catch (error) {
    complain(usage, error.message);
  }
  const { values, positionals: given } = parsed;
  if (values.help) complain(usage, "", 0);
  if (given.length !== positionals) {
    complain(usage, `it takes ${positionals} argument(s), ${given.length} were given`);
  }
  const read = { given };
  for (const [name, fallback] of Object.entries(options)) {
    read[name] = values[name] ?? fallback;
    if (typeof fallback !== "number") continue;
    read[name] = Number(read[name]);
    if (!Number.isFinite(read[name])) complain(usage, `--${name} takes a number`);
  }
  if (read.player !== undefined && !["native", "hlsjs"].includes(read.player)) {
    complain(usage, "--player takes native or hlsjs");
  }
  return read;
}

function complain(usage, problem, code = 2) {
  console.error(`${problem ? `${problem}\n` : ""}usage: ${usage}`);
  process.exit(code);
}

/// Runs `work(verdict)`, prints the verdict as one line of JSON, and leaves: 0 when it is ok,
/// 1 with a sentence on standard error when not.
export async function judged(verdict, work) {
  verdict.ok = false;
  try {
    await work(verdict);
    verdict.ok = true;
  } catch (error) {
    verdict.reason = error instanceof Failure ? error.message : String(error.stack ?? error);
  }
  console.log(JSON.stringify(verdict));
  if (!verdict.ok) console.error(`failed: ${verdict.reason}`);
  process.exitCode = verdict.ok ? 0 : 1;
}

/// The numbers from 0 to 1 that follow from a seed (mulberry32).
export function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

#!/usr/bin/env node
// Seeks to places spread over the window and judges each: was it reached, does time move on
// from there, and is the picture the one of that time?

import { withHarness } from "./lib/browser.mjs";
import { Failure, judged, readArgs, seeded } from "./lib/cli.mjs";

const USAGE = "seek.mjs URL|PLAYLIST [--player hlsjs|native] [--count 12] [--seed 1] "
  + "[--limit-secs 10] [--picture-secs 1] [--edge-secs 0] [--pause-secs 0]\n"
  + "  --picture-secs: how long one picture stands at most\n"
  + "  --edge-secs: how much of a live window's end to keep clear of\n"
  + "  --pause-secs: how long to play on after each seek";
const args = readArgs(USAGE, 1, {
  player: "hlsjs",
  count: 12,
  seed: 1,
  "limit-secs": 10,
  "picture-secs": 1,
  "edge-secs": 0,
  "pause-secs": 0,
});

/// How far a seek may land from where it was asked to: browsers round to their own time base.
const LANDING_SECS = 0.25;
/// How much of the end is left to play after the last seek.
const TAIL_SECS = 2;

const pause = (secs) => new Promise((done) => setTimeout(done, secs * 1000));
const verdict = { check: "seek", player: args.player, url: args.given[0], seed: args.seed };

await judged(verdict, () => withHarness(args.given[0], async (page, url) => {
  await page.evaluate(([u, p]) => window.harness.start(u, p), [url, args.player]);
  let range = null;
  for (let waited = 0; waited < 20; waited += 0.2) {
    await pause(0.2);
    const now = await page.evaluate(() => window.harness.now());
    if (now.error || now.fatal) throw new Failure(`it does not play: ${now.error ?? now.fatal}`);
    range = await page.evaluate(() => window.harness.range());
    if (range && range.end > range.start && now.readyState >= 3) break;
    range = null;
  }
  if (!range) throw new Failure("it does not play, or has no range to seek in, after 20 s");
  verdict.windowSecs = Number((range.end - range.start).toFixed(2));

  verdict.seeks = [];
  for (const part of places(args.count, args.seed)) {
    range = await page.evaluate(() => window.harness.range());
    if (!range) throw new Failure("the range to seek in is gone");
    const end = range.end - Math.max(TAIL_SECS, range.live ? args["edge-secs"] : 0);
    const target = range.start + part * Math.max(end - range.start, 0);
    const seek = await page.evaluate(
      ([t, limit]) => window.harness.seek(t, limit),
      [target, args["limit-secs"]],
    );
    seek.fault = fault(seek);
    verdict.seeks.push(seek);
    if (seek.error) break;
    await pause(args["pause-secs"]);
  }
  const good = verdict.seeks.filter((seek) => !seek.fault);
  verdict.reached = good.length;
  verdict.durationSecs = await page.evaluate(() => window.harness.durationSecs());
  verdict.slowestSecs = Math.max(...verdict.seeks.map((seek) => seek.seekedAfterSecs));
  // The good ones are only of interest as a number.
  verdict.seeks = verdict.seeks.filter((seek) => seek.fault);
  if (good.length < args.count) {
    const [{ target, fault: first }] = verdict.seeks;
    throw new Failure(
      `${good.length} of ${args.count} seeks were reached; to ${target.toFixed(1)} s: ${first}`,
    );
  }
}));

/// One place in each of `count` equal parts, in a seeded order.
function places(count, seed) {
  const random = seeded(seed);
  const list = Array.from({ length: count }, (_, i) => (i + random()) / count);
  for (let i = list.length - 1; i > 0; i -= 1) {
    const j = Math.floor(random() * (i + 1));
    [list[i], list[j]] = [list[j], list[i]];
  }
  return list;
}

function fault(seek) {
  if (seek.error) return `the player gave up: ${seek.error}`;
  if (!seek.seeked) return "it was not reached in time";
  if (Math.abs(seek.time - seek.target) > LANDING_SECS) return `it landed at ${seek.time.toFixed(2)} s`;
  if (!seek.advanced) return "time does not move on";
  if (!seek.pictureShown) return "no picture was shown";
  const early = seek.target - seek.pictureTime;
  const late = seek.pictureTime - seek.endTime;
  if (early > args["picture-secs"] + LANDING_SECS || late > args["picture-secs"] + LANDING_SECS) {
    return `the picture is of ${seek.pictureTime.toFixed(2)} s`;
  }
  return null;
}

#!/usr/bin/env node
// Plays a live stream and judges: did it start at the live edge, and did it play on across new
// segments without a stall?

import { listedSegments, watchSegments, withHarness } from "./lib/browser.mjs";
import { Failure, judged, readArgs } from "./lib/cli.mjs";

const USAGE = "play-live.mjs URL|PLAYLIST [--player hlsjs|native] [--secs 90] [--stall-secs 1] "
  + "[--start-secs 20] [--edge-segments 4]";
const args = readArgs(USAGE, 1, {
  player: "hlsjs",
  secs: 90,
  "stall-secs": 1,
  "start-secs": 20,
  "edge-segments": 4,
});

const pause = (secs) => new Promise((done) => setTimeout(done, secs * 1000));

const verdict = { check: "play-live", player: args.player, url: args.given[0] };
await judged(verdict, () => withHarness(args.given[0], async (page, url) => {
  const fetched = watchSegments(page);
  const listed = await listedSegments(url);
  await page.evaluate(([u, p]) => window.harness.start(u, p), [url, args.player]);

  let begun = false;
  for (let waited = 0; waited < args["start-secs"] && !begun; waited += 0.2) {
    await pause(0.2);
    const now = await page.evaluate(() => window.harness.now());
    fail(now);
    begun = now.readyState >= 3 && now.time > 0;
  }
  if (!begun) throw new Failure(`no picture moved within ${args["start-secs"]} s`);

  verdict.startedSegmentsBehind = segmentsBehind(listed, fetched);
  const atStart = fetched.length;
  const deadline = Date.now() + (args.secs * 1.25 + 5) * 1000;
  let watched;
  do {
    await pause(0.5);
    fail(await page.evaluate(() => window.harness.now()));
    watched = await page.evaluate((s) => window.harness.watched(s), args["stall-secs"]);
    Object.assign(verdict, {
      startedAfterSecs: round(watched.startedAfterSecs),
      playedSecs: round(watched.playedSecs),
      stalls: watched.stalls,
      segments: fetched.length,
      newSegments: fetched.length - atStart,
    });
    if (watched.stalls.length) {
      const [{ at, secs }] = watched.stalls;
      throw new Failure(`playback stood still for ${secs} s at ${round(at)} s`);
    }
  } while (watched.playedSecs < args.secs && Date.now() < deadline);

  if (watched.playedSecs < args.secs) {
    throw new Failure(`only ${verdict.playedSecs} s of ${args.secs} s were played in time`);
  }
  if (verdict.startedSegmentsBehind > args["edge-segments"]) {
    throw new Failure(`it started ${verdict.startedSegmentsBehind} segments before the live edge`);
  }
  if (verdict.newSegments < 1) throw new Failure("no new segment was fetched while it played");
}));

/// How many segments before the end it began to play. A player may look at another segment
/// first, to learn what is in it: what counts is the run that leads to the newest one fetched.
function segmentsBehind(listed, fetched) {
  // What came after the playlist was read is newer than all that it lists.
  const all = [...listed, ...fetched.filter((path) => !listed.includes(path))];
  let start = Math.max(...fetched.map((path) => all.indexOf(path)));
  while (start > 0 && fetched.includes(all[start - 1])) start -= 1;
  return Math.max(listed.length - start, 0);
}

function fail(now) {
  if (now.error) throw new Failure(`the player gave up: ${now.error}`);
  if (now.fatal) throw new Failure(`hls.js gave up: ${now.fatal}`);
}

function round(value) {
  return value === null ? null : Number(value.toFixed(2));
}

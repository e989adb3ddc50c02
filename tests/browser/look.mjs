#!/usr/bin/env node
// Opens a video without playing it, goes to given times, and tells what is on screen there: the
// size, and how bright each column of the upper half is.

import { withHarness } from "./lib/browser.mjs";
import { Failure, judged, readArgs } from "./lib/cli.mjs";

const USAGE = "look.mjs URL|FILE [--at 0,1.5] [--columns 16] [--limit-secs 10]";
const args = readArgs(USAGE, 1, { at: "0", columns: 16, "limit-secs": 10 });
const times = args.at.split(",").map(Number);

const verdict = { check: "look", url: args.given[0] };
await judged(verdict, () => withHarness(args.given[0], async (page, url) => {
  if (!times.every(Number.isFinite)) throw new Failure(`--at ${args.at} is not a list of times`);
  const found = await page.evaluate(look, [url, times, args.columns, args["limit-secs"]]);
  Object.assign(verdict, found);
  if (found.error) throw new Failure(`it cannot be looked at: ${found.error}`);
}));

/// Runs in the page.
async function look([url, places, columns, limitSecs]) {
  const video = document.getElementById("video");
  const within = (event) => new Promise((done, failed) => {
    video.addEventListener(event, done, { once: true });
    video.addEventListener("error", () => failed(video.error.message), { once: true });
    setTimeout(() => failed(`no ${event} within ${limitSecs} s`), limitSecs * 1000);
  });
  const canvas = document.createElement("canvas");
  const looks = [];
  try {
    video.preload = "auto";
    const loaded = within("loadeddata");
    video.src = url;
    await loaded;
    for (const at of places) {
      // The first picture is there already: it is the one that a viewer sees before playing.
      if (at > 0) {
        const seeked = within("seeked");
        video.currentTime = at;
        await seeked;
      }
      canvas.width = video.videoWidth;
      canvas.height = video.videoHeight;
      const context = canvas.getContext("2d");
      context.drawImage(video, 0, 0);
      const wide = canvas.width / columns;
      const brightness = (column) => {
        const { data } = context.getImageData(
          Math.round((column + 0.25) * wide), canvas.height / 8, wide / 2, canvas.height / 4,
        );
        let sum = 0;
        for (let i = 0; i < data.length; i += 4) sum += data[i];
        return Math.round((sum * 4) / data.length);
      };
      const bright = Array.from({ length: columns }, (_, column) => brightness(column));
      looks.push({ at, width: canvas.width, height: canvas.height, bright });
    }
    return { durationSecs: video.duration, looks };
  } catch (error) {
    return { error: String(error), looks };
  }
}

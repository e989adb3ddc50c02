#!/usr/bin/env node
// Photographs the wall of cameras, or one camera opened, once pictures are shown.

import { withPage } from "./lib/browser.mjs";
import { Failure, judged, readArgs } from "./lib/cli.mjs";

const USAGE = "screenshot.mjs URL out.png [--wait-secs 20] [--settle-secs 2] [--width 1440] "
  + "[--height 900] [--open N] [--back PERCENT]\n"
  + "  --open: click the N-th camera (1 is the first); --back: then drag to that part of the window";
const args = readArgs(USAGE, 2, {
  "wait-secs": 20,
  "settle-secs": 2,
  width: 1440,
  height: 900,
  open: 0,
  back: -1,
});
const [url, file] = args.given;
const verdict = { check: "screenshot", url, file, complaints: [] };

await judged(verdict, () => withPage({ width: args.width, height: args.height }, async (page) => {
  page.on("console", (message) => {
    // A stream that is not there yet answers 404, and the browser says so.
    if (message.type() === "error" && !/ 404 /.test(message.text())) {
      verdict.complaints.push(message.text());
    }
  });
  page.on("pageerror", (error) => verdict.complaints.push(String(error)));
  const began = Date.now();
  await page.goto(url).catch((error) => {
    throw new Failure(`${url} cannot be opened: ${error.message.split("\n")[0]}`);
  });
  const isPlaying = () => [...document.querySelectorAll(".tile video")]
    .some((video) => video.readyState >= 2 && video.currentTime > 0 && video.videoWidth > 0);
  const shown = await page
    .waitForFunction(isPlaying, null, { timeout: args["wait-secs"] * 1000 })
    .catch(() => null);
  const now = Date.now();
  verdict.firstPictureSecs = shown && (now - began) / 1000;
  verdict.firstPictureAtMillis = shown && now;
  await page.waitForTimeout(args["settle-secs"] * 1000);
  if (args.open > 0) await open(page);
  Object.assign(verdict, await page.evaluate(() => {
    const videos = [...document.querySelectorAll(".tile video")];
    const playing = videos.filter((video) => video.readyState >= 2 && !video.paused);
    return { tiles: videos.length, playing: playing.length };
  }));
  await page.screenshot({ path: file });
  if (!shown) throw new Failure(`no picture moved within ${args["wait-secs"]} s`);
  if (verdict.complaints.length) throw new Failure(`the page complains: ${verdict.complaints[0]}`);
}));

async function open(page) {
  await page.locator(".tile .open").nth(args.open - 1).click();
  await page.waitForFunction(() => document.getElementById("viewer-video").readyState >= 2);
  await page.waitForTimeout(1500);
  if (args.back >= 0) {
    const box = await page.locator("#viewer-scrub").boundingBox();
    await page.mouse.click(box.x + (box.width * args.back) / 100, box.y + box.height / 2);
    await page.waitForTimeout(2500);
  }
  verdict.viewer = await page.evaluate(() => ({
    clock: document.getElementById("viewer-clock").textContent,
    isLive: document.getElementById("viewer-live").getAttribute("aria-pressed") === "true",
    time: document.getElementById("viewer-video").currentTime,
    scrub: Number(document.getElementById("viewer-scrub").value),
  }));
}

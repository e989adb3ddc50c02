// What every look at the page needs: its complaints, and what is on it.

import { Failure } from "./cli.mjs";

/// Collects what the page complains of; `allowed` is a pattern of what it may.
export function complaints(page, allowed = null) {
  const found = [];
  page.on("console", (message) => {
    if (message.type() !== "error" && message.type() !== "warning") return;
    const text = `${message.text()} ${message.location().url}`;
    if (!allowed?.test(text)) found.push(text);
  });
  page.on("pageerror", (error) => found.push(String(error)));
  return found;
}

export function check(isGood, what) {
  if (!isGood) throw new Failure(what);
}

/// Waits until `condition` holds in the page; says `what` was not so when it does not.
export async function until(page, condition, argument, what, secs = 20) {
  await page.waitForFunction(condition, argument, { timeout: secs * 1000, polling: 100 })
    .catch(() => { throw new Failure(`${what}, after ${secs} s`); });
}

export function place(page) {
  return page.evaluate(() => Object.fromEntries(new URLSearchParams(location.hash.slice(1))));
}

/// The grey steps of the left and the right half of what the open camera shows, as one number.
export function frameShown(page) {
  return page.evaluate(() => {
    const video = document.getElementById("viewer-video");
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(video, 0, 0);
    const step = (part) => {
      const [grey] = context.getImageData(canvas.width * part, canvas.height / 2, 1, 1).data;
      return Math.round((grey - 40) / 16);
    };
    return step(0.25) * 12 + step(0.75);
  });
}

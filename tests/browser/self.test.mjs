// The scripts judge rightly: what is good passes, what is broken fails and says why. The media
// comes from the ffmpeg command.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
let folder;

/// Runs a command to its end, whatever that is.
function run(command, args) {
  return new Promise((done) => {
    execFile(command, args, (error, stdout, stderr) => {
      done({ code: error ? (error.code ?? 1) : 0, stdout, stderr });
    });
  });
}

async function script(name, ...args) {
  const { code, stdout, stderr } = await run(process.execPath, [join(here, name), ...args]);
  return { code, verdict: JSON.parse(stdout), stderr };
}

/// A finished stream of 60 s in segments of 6 s.
async function stream(name, picturesPerSec) {
  const playlist = join(folder, name, "playlist.m3u8");
  await mkdir(dirname(playlist));
  const keyframes = String(6 * picturesPerSec);
  const made = await run("ffmpeg", [
    "-v", "error", "-f", "lavfi", "-i", `testsrc2=rate=${picturesPerSec}:size=320x180`,
    "-t", "60", "-c:v", "libx264", "-preset", "ultrafast", "-bf", "0",
    "-g", keyframes, "-keyint_min", keyframes, "-f", "hls", "-hls_time", "6",
    "-hls_list_size", "0", "-hls_playlist_type", "vod", playlist,
  ]);
  assert.equal(made.code, 0, made.stderr);
  return playlist;
}

before(async () => { folder = await mkdtemp(join(tmpdir(), "self-test-")); });
after(() => rm(folder, { recursive: true, force: true }));

for (const player of ["hlsjs", "native"]) {
  test(`a stream of two pictures a second is sought everywhere by ${player}`, async () => {
    const playlist = await stream(`good-${player}`, 2);
    const { code, verdict, stderr } = await script("seek.mjs", playlist, "--player", player);
    assert.equal(code, 0, stderr);
    assert.equal(verdict.reached, 12);
  });
}

test("one picture a second does not seek natively, and that is noticed", async () => {
  const playlist = await stream("slow", 1);
  const { code, verdict } = await script("seek.mjs", playlist, "--player", "native");
  assert.equal(code, 1);
  assert.ok(verdict.reached < 12, JSON.stringify(verdict));
});

test("a listed segment that is missing is noticed", async () => {
  const playlist = await stream("hole", 2);
  await rm(join(dirname(playlist), "playlist5.ts"));
  const { code, stderr } = await script("seek.mjs", playlist, "--limit-secs", "4");
  assert.equal(code, 1);
  assert.match(stderr, /^failed: /);
});

test("a video is looked at, and what is none is noticed", async () => {
  const video = join(folder, "halves.mp4");
  const made = await run("ffmpeg", [
    "-v", "error", "-f", "lavfi", "-i", "color=black:size=320x180:rate=5",
    "-vf", "drawbox=x=160:w=160:h=180:color=white:t=fill:enable='gte(t,1)'", "-t", "2",
    "-pix_fmt", "yuv420p", "-c:v", "libx264", video,
  ]);
  assert.equal(made.code, 0, made.stderr);
  const { code, verdict, stderr } = await script("look.mjs", video, "--at", "0,1.5", "--columns", "2");
  assert.equal(code, 0, stderr);
  const [before, after] = verdict.looks;
  assert.deepEqual([before.width, before.height], [320, 180]);
  assert.ok(Math.max(...before.bright, after.bright[0]) < 50, JSON.stringify(verdict));
  assert.ok(after.bright[1] > 200, JSON.stringify(verdict));
  const none = await script("look.mjs", join(here, "package.json"));
  assert.equal(none.code, 1);
  assert.match(none.stderr, /^failed: it cannot be looked at/);
});

test("a stream that has ended is not live", async () => {
  const playlist = await stream("ended", 2);
  const { code, stderr } = await script("play-live.mjs", playlist, "--secs", "5");
  assert.equal(code, 1);
  assert.match(stderr, /before the live edge|no new segment/);
});

// A real browser with an empty profile, and the harness page in it.

import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { chromium } from "playwright-core";

import { Failure } from "./cli.mjs";
import { serve } from "./server.mjs";

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--autoplay-policy=no-user-gesture-required",
];

/// Runs `work(page)` in a fresh browser and ends it, whatever happens.
export async function withPage(size, work) {
  const profile = await mkdtemp(join(tmpdir(), "browser-test-"));
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  let context;
  try {
    context = await chromium.launchPersistentContext(profile, {
      executablePath,
      args: FLAGS,
      headless: true,
      viewport: size,
    });
  } catch (error) {
    await rm(profile, { recursive: true, force: true });
    throw new Failure(`${executablePath} does not start (set CHROMIUM to another): ${error.message}`);
  }
  try {
    return await work(context.pages()[0] ?? (await context.newPage()));
  } finally {
    await context.close();
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

/// Runs `work(page, url)` on the harness page. `target` is the address of a playlist, or a
/// playlist's path, whose folder is then served.
export async function withHarness(target, work) {
  const isAddress = /^https?:/.test(target);
  const path = isAddress ? null : resolve(target);
  if (path && !(await stat(path).catch(() => null))?.isFile()) {
    throw new Failure(`${target} is neither an http address nor a playlist file`);
  }
  const server = await serve(path && dirname(path));
  const url = path ? `${server.origin}/files/${basename(path)}` : target;
  try {
    return await withPage({ width: 960, height: 600 }, async (page) => {
      await page.goto(`${server.origin}/harness.html`);
      return work(page, url);
    });
  } finally {
    server.close();
  }
}

/// The media files that the page asks for, in order, each once.
export function watchSegments(page) {
  const names = [];
  page.on("request", (request) => {
    const path = new URL(request.url()).pathname;
    if (/\.(ts|m4s)$/.test(path) && !names.includes(path)) names.push(path);
  });
  return names;
}

/// The paths of the segments that a playlist lists now.
export async function listedSegments(url) {
  const answer = await fetch(url).catch((error) => {
    throw new Failure(`${url} cannot be fetched: ${error.cause?.message ?? error.message}`);
  });
  if (!answer.ok) throw new Failure(`${url} answers ${answer.status}`);
  const lines = (await answer.text()).split(/\r?\n/);
  if (lines[0] !== "#EXTM3U") throw new Failure(`${url} is not a playlist`);
  const uris = lines.filter((line) => line && !line.startsWith("#"));
  return uris.map((uri) => new URL(uri, url).pathname);
}

// A server on the loopback address: the harness page, hls.js, and a folder of streams.

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { dirname, extname, join, normalize, sep } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const hlsJs = createRequire(import.meta.url).resolve("hls.js/dist/hls.min.js");

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".m3u8": "application/vnd.apple.mpegurl",
  ".ts": "video/mp2t",
  ".m4s": "video/iso.segment",
  ".mp4": "video/mp4",
};

/// Serves `/harness.html`, `/hls.js`, and `dir`, when given, below `/files/`. Returns its
/// address and how to end it.
export async function serve(dir) {
  const server = createServer((request, response) => {
    answer(dir, request, response).catch(() => {
      if (!response.headersSent) response.writeHead(404);
      response.end();
    });
  });
  await new Promise((done, failed) => {
    server.once("error", failed);
    server.listen(0, "127.0.0.1", done);
  });
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { origin: `http://127.0.0.1:${server.address().port}`, close };
}

function located(dir, url) {
  const path = decodeURIComponent(new URL(url, "http://x").pathname);
  if (path === "/harness.html") return join(here, "harness.html");
  if (path === "/harness.js") return join(here, "harness.js");
  if (path === "/hls.js") return hlsJs;
  if (!dir || !path.startsWith("/files/")) return null;
  const file = normalize(join(dir, path.slice("/files/".length)));
  return file.startsWith(normalize(dir) + sep) ? file : null;
}

async function answer(dir, request, response) {
  const file = located(dir, request.url);
  const size = file ? (await stat(file)).size : null;
  if (size === null) throw new Error("no such file");
  const headers = {
    "Content-Type": TYPES[extname(file)] ?? "application/octet-stream",
    "Cache-Control": "no-cache",
    "Access-Control-Allow-Origin": "*",
    "Accept-Ranges": "bytes",
  };
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
  const start = range ? Number(range[1]) : 0;
  const end = Math.min(range?.[2] ? Number(range[2]) : size - 1, size - 1);
  if (range && start > end) {
    response.writeHead(416, { "Content-Range": `bytes */${size}` }).end();
    return;
  }
  if (range) headers["Content-Range"] = `bytes ${start}-${end}/${size}`;
  headers["Content-Length"] = Math.max(end - start + 1, 0);
  response.writeHead(range ? 206 : 200, headers);
  if (request.method === "HEAD" || size === 0) response.end();
  else createReadStream(file, { start, end }).on("error", () => response.destroy()).pipe(response);
}

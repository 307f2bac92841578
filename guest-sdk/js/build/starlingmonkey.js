// StarlingMonkey (SpiderMonkey) through jco. It brings the Web's APIs: fetch, Request, streams, timers, crypto.
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { bundle as bundleModule, reexport } from "./bundle.js";
import { listensForFetch } from "./world.js";
import { copyPackages } from "./wit.js";

// The version of WASI its `fetch` event is compiled for. What is used here is the same in all of 0.2.
const ENGINE_WASI = "0.2.10";

export const bundle = (source) => bundleModule(reexport(source));

export const inVersion = (text) => text.replaceAll(/\b0\.2\.1[0-2]\b/g, ENGINE_WASI);

export function writePackages(target) {
  // The engine's own copy of the packages has these items, and a second copy must have them too.
  copyPackages(target, (text) => inVersion(text).replaceAll(/@unstable\(feature = network-error-code\)\n/g, ""));
}

export async function componentize({ source, wit, exports, out }) {
  const disabled = listensForFetch(exports) ? [] : ["--disable", "fetch-event"];
  const jco = join(dirname(createRequire(import.meta.url).resolve("@bytecodealliance/jco")), "jco.js");
  const args = [jco, "componentize", source, "--wit", wit, "--world-name", "plugin", ...disabled, "--out", out];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  if (status !== 0) throw new Error((stderr || stdout).trim());
}

#!/usr/bin/env node
// host-js SOURCE [-o OUT.wasm] [--engine starlingmonkey|quickjs] [--node]
//
// With --node SOURCE is a script for Node, with `node:cluster` and `node:http`, and becomes one component that is the
// primary program and the workers.
//
// Makes a component of a JavaScript or TypeScript module: bundles it, reads off what it imports and exports,
// writes the WIT world that says so, and hands both to the engine's componentizer.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { parseArgs } from "node:util";
import * as quickjs from "./quickjs.js";
import * as starlingmonkey from "./starlingmonkey.js";
import { worldOf } from "./world.js";

const ENGINES = { starlingmonkey, quickjs };

async function build(source, out, engine, node) {
  if (node && !engine.bundleScript) throw new Error("--node: only QuickJS runs scripts so far; add --engine quickjs");
  const { code, imports, exports } = await (node ? engine.bundleScript : engine.bundle)(source);
  const work = mkdtempSync(join(tmpdir(), "host-js-"));
  try {
    const wit = join(work, "wit");
    engine.writePackages(wit);
    writeFileSync(join(wit, "world.wit"), engine.inVersion(worldOf(imports, exports)));
    writeFileSync(join(work, "bundle.js"), engine.inVersion(code));
    mkdirSync(dirname(out), { recursive: true });
    await engine.componentize({ source: join(work, "bundle.js"), wit, exports, out });
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function usage() {
  console.error("usage: host-js SOURCE [-o OUT.wasm] [--engine starlingmonkey|quickjs] [--node]");
  process.exit(2);
}

let options;
try {
  options = parseArgs({
    allowPositionals: true,
    options: {
      output: { type: "string", short: "o" },
      engine: { type: "string" },
      node: { type: "boolean", default: false },
    },
  });
} catch {
  usage();
}
const [source, ...rest] = options.positionals;
const { node } = options.values;
const engine = ENGINES[options.values.engine ?? (node ? "quickjs" : "starlingmonkey")];
if (!source || rest.length || !engine) usage();
const out = options.values.output ?? basename(source).replace(/\.[cm]?[jt]sx?$/, "") + ".wasm";
try {
  await build(source, out, engine, node);
} catch (error) {
  console.error(`host-js: build ${source}: ${error.message}`);
  process.exit(1);
}

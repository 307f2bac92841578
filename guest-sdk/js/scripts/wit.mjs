// Writes wit/: the worlds of worlds.wit with the packages they need, in the WASI version that the JavaScript
// engines are built with. WASI 0.2 versions are compatible in both directions for what is used here; the
// engines just insist on their own number.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";

const ENGINE_WASI = "0.2.10";
const sdk = new URL("..", import.meta.url);
const source = new URL("../../wit/", sdk);
const target = new URL("wit/", sdk);

const inEngineVersion = (text) => text
  .replaceAll(/\b0\.2\.1[12]\b/g, ENGINE_WASI)
  // The engines have these items, and insist that every copy of the package has.
  .replaceAll(/@unstable\(feature = network-error-code\)\n/g, "");

function copy(from, to) {
  mkdirSync(to, { recursive: true });
  for (const name of readdirSync(from).filter((name) => name.endsWith(".wit"))) {
    writeFileSync(new URL(name, to), inEngineVersion(readFileSync(new URL(name, from), "utf8")));
  }
}

rmSync(target, { recursive: true, force: true });
copy(source, new URL("deps/host-cluster/", target));
copy(new URL("deps/", source), new URL("deps/", target));
writeFileSync(new URL("worlds.wit", target), readFileSync(new URL("worlds.wit", sdk)));

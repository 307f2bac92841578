// QuickJS through componentize-qjs: small and quick to start. It has no Web APIs; ../src/quickjs/ brings those
// that handlers need.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { componentize as toComponent } from "componentize-qjs";
import { bundle as bundleModule, reexport } from "./bundle.js";
import { alias, programOf } from "./node.js";
import { listensForFetch } from "./world.js";
import { copyPackages } from "./wit.js";

// While the componentizer runs the module once, for its snapshot, it offers WASI of its own to it. Interfaces
// with WASI's streams in them do not fit those, and it gives up. So WASI goes by a name it does not know while
// it works, of the same length, in a version that the engine itself does not import; afterwards the name is
// put right.
const ALIAS = "wisa:";
const ALIAS_VERSION = "0.2.11";

const runtime = (name) => fileURLToPath(new URL(`../src/quickjs/${name}`, import.meta.url));
// `async` goes: src/quickjs/jobs.js says why.
const OPTIONS = {
  inject: [runtime("web.js")],
  supported: { "async-await": false, "async-generator": false, "for-await": false },
};

/** A Node script; see node.js. */
export const bundleScript = (source) => bundleModule(programOf(source), { ...OPTIONS, alias });

export async function bundle(source) {
  const plain = await bundleModule(reexport(source), OPTIONS);
  if (!listensForFetch(plain.exports)) return plain;
  const handler = `export { incomingHandler } from ${JSON.stringify(runtime("handler.js"))};\n`;
  return bundleModule(reexport(source) + handler, OPTIONS);
}

export const inVersion = (text) => text.replaceAll("wasi:", ALIAS).replaceAll(/\b0\.2\.1[0-2]\b/g, ALIAS_VERSION);

export const writePackages = (target) => copyPackages(target, inVersion);

export async function componentize({ source, wit, out }) {
  const { component } = await toComponent({
    witPath: wit,
    world: "plugin",
    jsSource: readFileSync(source, "utf8"),
    sync: true,
  });
  const bytes = Buffer.from(component);
  for (let at = bytes.indexOf(ALIAS); at >= 0; at = bytes.indexOf(ALIAS, at)) bytes.write("wasi:", at);
  writeFileSync(out, bytes);
}

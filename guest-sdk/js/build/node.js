// Node scripts as they are: Node's modules are replaced by those of ../src/node/, over `host:cluster`.
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";

const file = (name) => fileURLToPath(new URL(`../src/${name}`, import.meta.url));

const MODULES = {
  buffer: file("node/buffer.js"),
  child_process: file("node/child_process.js"),
  cluster: file("node/cluster.cjs"),
  events: file("node/events.cjs"),
  http: file("node/http.js"),
  os: file("node/os.js"),
  process: file("node/process.cjs"),
};

/** Of esbuild: what `node:http` and `http` stand for. */
export const alias = Object.fromEntries(
  Object.entries(MODULES).flatMap(([name, path]) => [[name, path], [`node:${name}`, path]]),
);

/** The text of a module that runs the script. */
export function programOf(source) {
  const lazily = (path) => `() => require(${JSON.stringify(path)})`;
  const parts = ["process", "cluster", "http", "buffer"].map((name) => `${name}: ${lazily(file(`node/${name}.js`))}`);
  return [
    `import { programOf } from ${JSON.stringify(file("node/main.js"))};`,
    `export const run = programOf({ ${parts.join(", ")}, script: ${lazily(resolve(source))} });\n`,
  ].join("\n");
}

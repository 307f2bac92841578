// One module out of many. WIT imports (`host:cluster/ipc@0.1.0`, `wasi:…`) stay imports.
import { resolve } from "node:path";
import { build } from "esbuild";

/** `contents` is the text of a module that stands in the current folder. */
export async function bundle(contents, options = {}) {
  const result = await build({
    stdin: { contents, resolveDir: process.cwd(), sourcefile: "plugin.js" },
    bundle: true,
    write: false,
    metafile: true,
    outfile: "bundle.js",
    format: "esm",
    platform: "neutral",
    mainFields: ["module", "main"],
    conditions: ["worker", "browser"],
    target: "es2022",
    external: ["host:*", "wasi:*"],
    treeShaking: true,
    logLevel: "warning",
    ...options,
  });
  const output = Object.values(result.metafile.outputs)[0];
  return {
    code: result.outputFiles[0].text,
    imports: [...new Set(output.imports.filter((one) => one.external).map((one) => one.path))],
    exports: output.exports,
  };
}

export const reexport = (source) => `export * from ${JSON.stringify(resolve(source))};\n`;

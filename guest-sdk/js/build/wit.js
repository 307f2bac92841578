// Where the WIT packages are: beside this package when it is installed from a registry, two folders up in
// the repository.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const candidates = ["../wit/", "../../../wit/"].map((path) => fileURLToPath(new URL(path, import.meta.url)));

export function copyPackages(target, rewrite) {
  const source = candidates.find(existsSync);
  copy(source, join(target, "deps", "host-cluster"), rewrite);
  copy(join(source, "deps"), join(target, "deps"), rewrite);
}

function copy(from, to, rewrite) {
  mkdirSync(to, { recursive: true });
  for (const name of readdirSync(from).filter((name) => name.endsWith(".wit"))) {
    writeFileSync(join(to, name), rewrite(readFileSync(join(from, name), "utf8")));
  }
}

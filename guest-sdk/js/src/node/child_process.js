// Node's `child_process` for a script: the SDK's, with a shell for `exec`, if the operator granted one by the name `sh`.
import { execFile, execFileSync } from "../child_process.js";

export { ChildProcess, execFile, execFileSync, fork, spawn, spawnSync } from "../child_process.js";

export const exec = (command, ...rest) => execFile("sh", ["-c", command], ...rest);
export const execSync = (command, options) => execFileSync("sh", ["-c", command], options);

// What cluster scripts ask of Node's `os`: how many workers to fork, mostly.
import * as raw from "host:cluster/process@0.1.0";

/** Processors that this host may use, as `--workers auto` counts them. */
export const availableParallelism = () => Number(Object.fromEntries(raw.config()).cpus ?? 1);
export const cpus = () => Array.from({ length: availableParallelism() }, () => ({ model: "", speed: 0, times: {} }));
export const platform = () => raw.platform();
export const arch = () => raw.arch();
export const hostname = () => "localhost";
export const EOL = "\n";

export default { availableParallelism, cpus, platform, arch, hostname, EOL };

/** A worker, seen from the primary program. */
export interface Worker {
  readonly id: number;
  readonly process: { readonly pid: number };
  readonly exitedAfterDisconnect: boolean;
  /** JSON, or bytes as they are. Waits while the queue is full. */
  send(message: unknown): true;
  kill(signal?: string): void;
  disconnect(): this;
  isConnected(): boolean;
  isDead(): boolean;
  on(event: string, listener: (...args: any[]) => void): this;
  once(event: string, listener: (...args: any[]) => void): this;
  off(event: string, listener: (...args: any[]) => void): this;
}

export interface Cluster {
  readonly isPrimary: true;
  readonly isMaster: true;
  readonly isWorker: false;
  readonly workers: Record<number, Worker>;
  readonly settings: { exec: string; args: string[]; silent: boolean; [name: string]: unknown };
  fork(env?: Record<string, unknown>): Worker;
  /** `exec` is the name of a plugin that the operator gave. */
  setupPrimary(settings?: { exec?: string; args?: string[]; silent?: boolean }): void;
  disconnect(): void;
  /** Starts the next generation. */
  reload(): void;
  on(event: "fork" | "online" | "disconnect", listener: (worker: Worker) => void): this;
  on(
    event: "listening",
    listener: (worker: Worker, address: { address?: string; port?: number; path?: string }) => void,
  ): this;
  on(event: "message", listener: (worker: Worker, message: any, reply?: (value: unknown) => void) => void): this;
  on(event: "exit", listener: (worker: Worker, code: number | null, signal: string | null) => void): this;
  on(event: "setup", listener: (settings: Cluster["settings"]) => void): this;
  on(event: `SIG${string}`, listener: (signal: string) => void): this;
  on(event: "lost", listener: (count: number | bigint) => void): this;
  once(event: string, listener: (...args: any[]) => void): this;
  off(event: string, listener: (...args: any[]) => void): this;
}

declare const cluster: Cluster;
export default cluster;

/** Export the result as `run`. */
export declare function run(main: () => void): { run(): void | Promise<void> };

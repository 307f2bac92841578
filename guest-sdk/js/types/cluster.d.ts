import type { HostProcess } from "./process.js";

/** A worker, seen from itself. */
export interface Worker {
  readonly id: number;
  /** Counts reloads. */
  readonly generation: number;
  readonly process: HostProcess;
  send(message: unknown): true;
  on(event: string, listener: (...args: any[]) => void): this;
  once(event: string, listener: (...args: any[]) => void): this;
  isConnected(): boolean;
  isDead(): boolean;
  kill(): void;
  disconnect(): void;
}

declare const cluster: {
  readonly isPrimary: false;
  readonly isMaster: false;
  readonly isWorker: true;
  readonly worker: Worker;
};
export default cluster;

// Sends every connection's bytes back to it.
import { createServer } from "host-sdk/net";

export const connectionHandler = createServer((socket) => {
  socket.on("data", (bytes) => socket.write(bytes));
}).handler;

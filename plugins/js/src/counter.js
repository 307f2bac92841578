// The worker of the Counter program: tells the primary program about every request.
import { serve } from "host-sdk/fetch";
import process from "host-sdk/process";

serve(() => {
  process.send({ cmd: "notifyRequest" });
  return new Response("hello world\n");
});

// Starts programs that the operator granted. `/run/NAME/ARGUMENT/…` shows what one prints and how it ends, and `/sync/…`
// waits for that; `/through/…` sends the body through one; `/ask/…` forks one and sends it the messages of a JSON list.
import { execFile, execFileSync, fork, spawn } from "host-sdk/child_process";
import { serve } from "host-sdk/fetch";

function run(program, args) {
  return new Promise((resolve) => {
    execFile(program, args, { timeout: 2000 }, (error, stdout, stderr) => {
      const { message, code, signal, killed } = error ?? {};
      resolve(Response.json({ stdout, stderr, error: message, code, signal, killed }));
    });
  });
}

function through(program, args, body) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (part) => (text += part));
    child.on("error", reject);
    child.on("close", () => resolve(new Response(text)));
    child.stdin.end(body);
  });
}

/** As many answers as messages, then the child is let go. */
function ask(program, args, messages) {
  return new Promise((resolve, reject) => {
    const child = fork(program, args);
    const answers = [];
    const events = [];
    child.on("message", (answer) => {
      if (answers.push(answer) === messages.length) child.disconnect();
    });
    child.on("disconnect", () => events.push("disconnect"));
    child.on("exit", (code, signal) => events.push(`exit ${code} ${signal}`));
    child.on("close", () => resolve(Response.json({ answers, events })));
    child.on("error", reject);
    for (const message of messages) child.send(message);
  });
}

const failed = ({ message, code }) => Response.json({ message, code }, { status: 502 });

serve(async (request) => {
  const [what, program, ...args] = request.url.split("/").slice(3).map(decodeURIComponent);
  try {
    if (what === "run") return await run(program, args);
    if (what === "through") return await through(program, args, await request.text());
    if (what === "ask") return await ask(program, args, await request.json());
    if (what === "sync") return new Response(execFileSync(program, args, { encoding: "utf8" }));
    return new Response("not found\n", { status: 404 });
  } catch (error) {
    return failed(error);
  }
});

// Starts programs; no cluster at all. Ends when they have.
const { exec, execFile, execSync, spawn } = require("node:child_process");

exec("echo $((1 + 1)) words", (error, stdout) => console.log(`exec: ${stdout.trim()}`));
console.log(`execSync: ${execSync("echo at once")}`.trim());

execFile("sh", ["-c", "echo out; echo err >&2; exit 3"], (error, stdout, stderr) => {
  console.log(`sh: ${error.code} ${stdout.trim()} ${stderr.trim()}`);
});

execFile("sh", ["-c", "sleep 60"], { timeout: 200 }, (error) => {
  console.log(`sleep: ${error.killed} ${error.signal}`);
});

const cat = spawn("cat");
let text = "";
cat.stdout.on("data", (data) => (text += data));
cat.on("exit", (code) => console.log(`cat exit: ${code}`));
cat.on("close", () => console.log(`cat: ${text.length} characters`));
cat.stdin.end("through cat\n".repeat(10000));

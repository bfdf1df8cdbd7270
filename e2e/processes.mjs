// Child processes of a test: started by their ready line, waited for with a bound, killed on exit.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
const READY_WITHIN = 60_000;
const DONE_WITHIN = 120_000;
const STOPPED_WITHIN = 5_000;

export const js = (name) => [process.execPath, join(HERE, "peers/js", `${name}.mjs`)];
export const py = (name) => [join(HERE, ".venv/bin/python"), join(HERE, "peers/py", `${name}.py`)];

/** The binary under test; the message says what to do when it is not there. */
export function tollway(...args) {
  const binary = process.env.TOLLWAY_BIN;
  if (!binary) {
    throw new Error("TOLLWAY_BIN is not set: build with `cargo build` and point it at target/debug/tollway");
  }
  return [binary, ...args];
}

/** A directory of this run alone: what an earlier one has paid, and to whom, would be remembered. */
export const scratch = mkdtempSync(join(tmpdir(), "tollway-e2e-"));
const alive = new Set();
process.once("exit", () => {
  alive.forEach((child) => child.kill("SIGKILL"));
  rmSync(scratch, { recursive: true, force: true });
});
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1)); // so that "exit" is run

function start([program, ...args], env) {
  const child = spawn(program, args, {
    env: { ...process.env, NODE_NO_WARNINGS: "1", PYTHONUNBUFFERED: "1", TOLLWAY_HOME: scratch, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  alive.add(child);
  child.once("exit", () => alive.delete(child));
  const output = { stdout: "", stderr: "" };
  for (const name of Object.keys(output)) {
    child[name].setEncoding("utf8");
    child[name].on("data", (text) => (output[name] = (output[name] + text).slice(-200_000)));
  }
  return { child, output, name: [program, ...args].join(" ") };
}

const problem = (what, { name, output }) =>
  new Error(`${name}: ${what}\n--- stdout\n${output.stdout}\n--- stderr\n${output.stderr}`);

/** Starts a server and returns the JSON object of its first JSON line, with `stop()` added. */
export async function serve(command, env = {}) {
  const started = start(command, env);
  const { child } = started;
  const stop = () => new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve();
    const force = setTimeout(() => child.kill("SIGKILL"), STOPPED_WITHIN);
    child.once("exit", () => (clearTimeout(force), resolve()));
    child.kill("SIGTERM");
  });
  const ready = new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(problem(`not ready within ${READY_WITHIN} ms`, started)), READY_WITHIN);
    const settle = (how, value) => (clearTimeout(timer), how(value));
    child.once("error", (error) => settle(reject, problem(error.message, started)));
    child.once("close", (code) => settle(reject, problem(`exited with ${code} before it was ready`, started)));
    createInterface({ input: child.stdout }).on("line", (line) => {
      if (line.startsWith("{")) settle(resolve, JSON.parse(line));
    });
  });
  try {
    return { ...(await ready), stop, output: started.output };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Runs a program to its end and returns {code, stdout, stderr}; a program that hangs is killed and reported. */
export async function run(command, env = {}) {
  const started = start(command, env);
  const { child, output } = started;
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      reject(problem(`not done within ${DONE_WITHIN} ms`, started));
    }, DONE_WITHIN);
    child.once("error", (error) => (clearTimeout(timer), reject(problem(error.message, started))));
    child.once("close", (code) => (clearTimeout(timer), resolve({ code, ...output })));
  });
}

/** Runs a buyer peer and returns its JSON lines. */
export async function pay(command, env) {
  const { code, stdout, stderr } = await run(command, env);
  if (code !== 0) throw new Error(`${command.join(" ")} exited with ${code}\n${stdout}\n${stderr}`);
  return jsonLines(stdout);
}

export const jsonLines = (text) =>
  text.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));

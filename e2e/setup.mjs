// Installs what the tests need, once per lock file: `npm ci` here and a Python venv beside it.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const at = (...parts) => join(here, ...parts);
const run = (program, ...args) => execFileSync(program, args, { cwd: here, stdio: "inherit" });

/** Runs `install` unless the last one was for the same lock files and its result is still there. */
function once({ name, locks, result, install }) {
  const hash = createHash("sha256");
  locks.forEach((lock) => hash.update(readFileSync(at(lock))));
  const want = hash.digest("hex");
  const mark = at(result, ".tollway-setup");
  if (existsSync(mark) && readFileSync(mark, "utf8") === want) return console.log(`${name}: up to date`);
  install();
  mkdirSync(at(result), { recursive: true });
  writeFileSync(mark, want);
  console.log(`${name}: installed`);
}

once({
  name: "npm",
  locks: ["package.json", "package-lock.json"],
  result: "node_modules",
  install: () => run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"),
});

once({
  name: "python",
  locks: ["requirements.txt"],
  result: ".venv",
  install: () => {
    run("python3.11", "-m", "venv", "--clear", ".venv");
    run(".venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r", "requirements.txt");
  },
});

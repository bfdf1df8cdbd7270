// Compiles src/ into out/. `--check` writes nothing and exits 1 when an artefact is not what the sources give.
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const source = join(here, 'src');
const output = join(here, 'out');

const settings = {
  optimizer: { enabled: true, runs: 200 },
  evmVersion: 'cancun',
  metadata: { bytecodeHash: 'none' },
  outputSelection: { '*': { '*': ['abi', 'evm.bytecode.object', 'evm.deployedBytecode.object'] } },
};

function solidityFiles(folder) {
  return readdirSync(folder, { recursive: true })
    .filter((name) => name.endsWith('.sol'))
    .map((name) => relative(folder, join(folder, name)))
    .sort();
}

function compile() {
  const solc = createRequire(join(here, '../e2e/package.json'))('solc');
  const names = solidityFiles(source);
  const sources = Object.fromEntries(names.map((n) => [n, { content: readFileSync(join(source, n), 'utf8') }]));
  const result = JSON.parse(solc.compile(JSON.stringify({ language: 'Solidity', sources, settings })));
  const complaints = result.errors ?? [];
  if (complaints.length > 0) {
    for (const complaint of complaints) console.error(complaint.formattedMessage);
    process.exit(1);
  }
  return artefacts(result.contracts, solc.version());
}

// One for every contract that can be deployed and has a file of its own name.
function artefacts(contracts, compiler) {
  const found = new Map();
  for (const [file, members] of Object.entries(contracts)) {
    const name = file.split('/').pop().replace('.sol', '');
    const contract = members[name];
    if (file.startsWith('parts/') || !contract) continue;
    const { abi, evm } = contract;
    const artefact = {
      contractName: name,
      compiler,
      abi,
      bytecode: `0x${evm.bytecode.object}`,
      deployedBytecode: `0x${evm.deployedBytecode.object}`,
    };
    found.set(`${name}.json`, `${JSON.stringify(artefact, null, 1)}\n`);
  }
  return found;
}

function read(name) {
  try {
    return readFileSync(join(output, name), 'utf8');
  } catch {
    return undefined;
  }
}

const built = compile();
mkdirSync(output, { recursive: true });
const stale = readdirSync(output).filter((name) => !built.has(name));
const changed = [...built].filter(([name, text]) => read(name) !== text).map(([name]) => name);

if (process.argv.includes('--check')) {
  for (const name of changed) console.error(`contracts/out/${name} is not what src/ compiles to: run node contracts/build.mjs`);
  for (const name of stale) console.error(`contracts/out/${name} has no source: run node contracts/build.mjs`);
  process.exit(changed.length + stale.length > 0 ? 1 : 0);
}
for (const name of stale) rmSync(join(output, name));
for (const name of changed) writeFileSync(join(output, name), built.get(name));
console.log(`${built.size} artefacts, ${changed.length} written, ${stale.length} removed`);

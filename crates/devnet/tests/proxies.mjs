// Whether our proxies have every function, event and error of @x402/evm's ABIs. Exits 1 at the first that is missing.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const load = createRequire(new URL('../../../e2e/package.json', import.meta.url));
const { toFunctionSignature, toEventSignature } = load('viem');
const theirs = load('@x402/evm');

const signature = (item) =>
  item.type === 'event'
    ? `event ${toEventSignature(item)}`
    : `${item.type} ${toFunctionSignature({ ...item, type: 'function' })} ${item.stateMutability ?? ''}`;

for (const name of ['ExactPermit2Proxy', 'UptoPermit2Proxy']) {
  const file = new URL(`../artefacts/X402${name}.json`, import.meta.url);
  const ours = new Set(JSON.parse(readFileSync(file, 'utf8')).abi.map(signature));
  const wanted = theirs[`x402${name}ABI`];
  assert(wanted.length >= 10, `@x402/evm has no ABI of the ${name}`);
  for (const item of wanted) assert(ours.has(signature(item)), `${name} lacks ${signature(item)}`);
}

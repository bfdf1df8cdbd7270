// Pays with viem: node viem.mjs URL PAYER_KEY RELAYER_KEY. Exits 1 at the first thing that isn't as expected.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

const load = createRequire(new URL('../../../e2e/package.json', import.meta.url));
const { createPublicClient, createWalletClient, http, parseAbi, parseSignature } = load('viem');
const { privateKeyToAccount } = load('viem/accounts');
const { baseSepolia } = load('viem/chains');

const [url, payerKey, relayerKey] = process.argv.slice(2);
const payer = privateKeyToAccount(payerKey);
const relayer = privateKeyToAccount(relayerKey);
const chain = baseSepolia;
const reader = createPublicClient({ chain, transport: http(url, { batch: true }), pollingInterval: 50 });
const writer = createWalletClient({ chain, transport: http(url), account: relayer });

const address = '0x036CbD53842c5426634e7929541eC2318f3dCF7e';
const abi = parseAbi([
  'function balanceOf(address) view returns (uint256)',
  'function name() view returns (string)',
  'function transferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce,uint8 v,bytes32 r,bytes32 s)',
  'event Transfer(address indexed from,address indexed to,uint256 value)',
]);
const names = ['from', 'to', 'value', 'validAfter', 'validBefore', 'nonce'];
const kinds = ['address', 'address', 'uint256', 'uint256', 'uint256', 'bytes32'];

async function signedPayment() {
  const message = {
    from: payer.address,
    to: relayer.address,
    value: 500n,
    validAfter: 0n,
    validBefore: 99_999_999_999n,
    nonce: `0x${'11'.repeat(32)}`,
  };
  const signature = await payer.signTypedData({
    domain: { name: 'USDC', version: '2', chainId: chain.id, verifyingContract: address },
    types: { TransferWithAuthorization: names.map((name, i) => ({ name, type: kinds[i] })) },
    primaryType: 'TransferWithAuthorization',
    message,
  });
  const { r, s, v } = parseSignature(signature);
  return [...names.map((name) => message[name]), Number(v), r, s];
}

const args = await signedPayment();
const functionName = 'transferWithAuthorization';

const { request } = await reader.simulateContract({ address, abi, functionName, args, account: relayer });
const hash = await writer.writeContract(request);
const receipt = await reader.waitForTransactionReceipt({ hash });
assert.equal(receipt.status, 'success');
assert.equal(receipt.logs.length, 2);
assert.equal(receipt.type, 'eip1559');

const [event] = parseAbi(['event Transfer(address indexed from,address indexed to,uint256 value)']);
const logs = await reader.getLogs({ address, event, args: { to: relayer.address }, fromBlock: 0n });
assert.deepEqual(logs.map((log) => [log.transactionHash, log.args.value]), [[hash, 500n]]);

const fees = await reader.estimateFeesPerGas();
const { baseFeePerGas, number } = await reader.getBlock();
assert.equal(fees.maxPriorityFeePerGas, 1_000_000n);
assert(fees.maxFeePerGas > baseFeePerGas);
assert.equal(number, receipt.blockNumber);
assert.equal((await reader.getFeeHistory({ blockCount: 4, rewardPercentiles: [25, 75] })).reward.length > 0, true);

// The chain's table names Multicall3: both reads go through it, in one call.
const reads = await reader.multicall({
  contracts: [
    { address, abi, functionName: 'balanceOf', args: [relayer.address] },
    { address, abi, functionName: 'name' },
  ],
  allowFailure: false,
});
assert.deepEqual(reads, [500n, 'USDC']);

const replay = await reader.simulateContract({ address, abi, functionName, args, account: relayer }).catch((e) => e);
assert.equal(replay.name, 'ContractFunctionExecutionError');
assert.match(replay.shortMessage, /FiatTokenV2: authorization is used or canceled/);

const transaction = await reader.getTransaction({ hash });
assert.equal(transaction.from.toLowerCase(), relayer.address.toLowerCase());
assert.equal((await reader.getTransactionCount({ address: relayer.address, blockTag: 'pending' })), 1);
assert.equal((await reader.getBlock({ blockTag: 'pending' })).hash, null);

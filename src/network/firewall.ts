/** Puts the rules into the kernel by the tool that this host has, and takes them out. It runs on worker threads. */
import { spawnSync } from 'node:child_process';
import { errnoCode, fail } from '../errors/index.ts';
import { dropsForwarded } from './forward-policy.ts';
import {
  iptablesChains,
  iptablesRemoval,
  iptablesRules,
  nftRemoval,
  nftRules,
  type RulePlan,
} from './rules.ts';

/** The tools that are known. nft does in one go what takes the others two. */
export const firewallTools = ['nft', 'iptables', 'iptables-nft', 'iptables-legacy'] as const;
export type FirewallTool = (typeof firewallTools)[number];

const path = `${process.env.PATH ?? ''}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin`;

/**
 * The tools in the order in which they are tried. Where the rules of iptables let nothing be forwarded (docker has it
 * so), they alone can make an exception: a table of nft's own cannot take back what another one drops.
 */
function toolsInOrder(): FirewallTool[] {
  const [nft, ...iptables] = firewallTools;
  return dropsForwarded() ? [...iptables, nft] : [nft, ...iptables];
}

/** Runs a program to its end. Throws `unavailable` with what it said; `details.missing` is set when there is none. */
function run(program: string, args: readonly string[], input: string): void {
  const { error, status, stderr } = spawnSync(program, args, {
    input,
    env: { PATH: path, LC_ALL: 'C' },
    timeout: 20_000,
    encoding: 'utf8',
  });
  if (error === undefined && status === 0) return;
  const missing = errnoCode(error) === 'ENOENT';
  const said = missing
    ? 'not installed'
    : (error?.message ?? stderr.trim().split('\n')[0] ?? `exit code ${status}`);
  throw fail('unavailable', 'exec', `${program}: ${said}`, { details: { missing: String(missing) } });
}

/** `iptables-legacy` → `ip6tables-legacy-restore` and so on. */
function restoreOf(tool: FirewallTool, family: 4 | 6): string {
  const [base, flavour] = tool.split('-');
  const name = family === 4 ? base : base?.replace('ip', 'ip6');
  return flavour === undefined ? `${name}-restore` : `${name}-${flavour}-restore`;
}

const restore = ['--noflush', '--wait', '10'];

/**
 * Sets the rules with the first tool that can. Returns that tool, and whether IPv6 works. Throws `unavailable` with what
 * each tool said.
 */
export function setRules(
  plan: Omit<RulePlan, 'strict'>,
  tools: readonly FirewallTool[] = toolsInOrder(),
): { tool: FirewallTool; hasV6: boolean } {
  const said = new Set<string>();
  for (const strict of [true, false]) {
    for (const tool of tools) {
      try {
        return { tool, hasV6: setWith(tool, { ...plan, strict }) };
      } catch (err) {
        said.add((err as Error).message);
      }
    }
  }
  throw fail('unavailable', 'exec', `no rules can be set: ${[...said].join('; ')}`, {
    hint: 'Install nftables or iptables (Debian: apt-get install nftables).',
  });
}

function setWith(tool: FirewallTool, plan: RulePlan): boolean {
  if (tool === 'nft') {
    run('nft', ['-f', '-'], nftRules(plan));
    return plan.subnet6 !== undefined;
  }
  run(restoreOf(tool, 4), restore, iptablesRules(plan, 4));
  if (plan.subnet6 === undefined) return false;
  try {
    run(restoreOf(tool, 6), restore, iptablesRules(plan, 6));
    return true;
  } catch {
    // A kernel without NAT for IPv6.
    removeOneByOne(tool, plan.key, 6);
    return false;
  }
}

interface SetRules {
  key: string;
  tool: FirewallTool;
  hasV6: boolean;
  hasGuard: boolean;
}

/** Removes the rules; what is not there any more is no error. */
export function removeRules({ key, tool, hasV6, hasGuard }: SetRules): void {
  if (tool === 'nft') {
    run('nft', ['-f', '-'], nftRemoval(key));
    return;
  }
  for (const family of hasV6 ? ([4, 6] as const) : ([4] as const)) {
    try {
      run(restoreOf(tool, family), restore, iptablesRemoval(key, hasGuard));
    } catch {
      removeOneByOne(tool, key, family);
    }
  }
}

/** For chains of which some are gone: somebody reloaded the rules, or they were never all there. */
function removeOneByOne(tool: FirewallTool, key: string, family: 4 | 6): void {
  const program = restoreOf(tool, family).replace(/-restore$/, '');
  for (const { table, chain, from } of iptablesChains(key, true)) {
    for (const args of [
      ['-D', from, '-j', chain],
      ['-F', chain],
      ['-X', chain],
    ]) {
      try {
        run(program, ['--wait', '10', '-t', table, ...args], '');
      } catch {
        // It is not there.
      }
    }
  }
}

/**
 * The rules that lead steps out of their networks and keep them from the host, as texts for nft (nft(8)) and for
 * iptables-restore (iptables-extensions(8)). Pure.
 */
import { ipFamily } from '../words/index.ts';
import { nthAddress, type Subnet, subnetText } from './addresses.ts';
import { linkPrefix } from './names.ts';

/** Differs when the rules, or the names of chains and tables, are others than those of an earlier Drydock. */
export const rulesVersion = 2;

/** What the rules of one setting of the network are made of. */
export interface RulePlan {
  /** Names the table and the chains, and tells these rules from those of other settings. */
  key: string;
  subnet4: Subnet;
  subnet6: Subnet | undefined;
  /** The networks that steps cannot reach. */
  denied: readonly Subnet[];
  /** What a step may ask of this host: nothing, only when it was given `host-gateway`, or everything but loopback. */
  hostAccess: HostAccess;
  /** The addresses that `host-gateway` stands for, if they are others than the links' own. */
  hostGateway: readonly string[];
  /** The interfaces that forward only for steps; what else comes in by them is not forwarded. */
  guarded: readonly string[];
  /**
   * Whether a packet must come from the very step that has its source's address (nft's fib, iptables' rpfilter), and not
   * only from the steps' networks. Some kernels cannot tell.
   */
  strict: boolean;
}

export type HostAccess = 'never' | 'asked' | 'always';

/** The beginnings of the names of the host's ends: of all steps, and of those that were given `host-gateway`. */
export function prefixesOf(key: string): { all: string; plain: string; asking: string } {
  const all = `${linkPrefix}${key}`;
  return { all, plain: `${all}s`, asking: `${all}h` };
}

const tableName = (key: string) => `drydock_${key}`;

/** The script for `nft -f -`. It puts the whole table in the place of one that is there. */
export function nftRules(plan: RulePlan): string {
  const { key, subnet4, subnet6, denied, hostAccess, hostGateway, guarded, strict } = plan;
  const { all, asking } = prefixesOf(key);
  const table = `inet ${tableName(key)}`;
  const nets = (family: 4 | 6) => denied.filter((net) => net.family === family).map(subnetText);
  const refuse = (family: 4 | 6) => {
    const list = nets(family);
    const word = family === 4 ? 'ip' : 'ip6';
    return list.length === 0
      ? []
      : [
          `${word} daddr { ${list.join(', ')} } meta l4proto tcp reject with tcp reset`,
          `${word} daddr { ${list.join(', ')} } reject with icmpx type admin-prohibited`,
        ];
  };
  const gateways = [
    `ip daddr ${nthAddress(subnet4, 1)} accept`,
    ...(subnet6 === undefined ? [] : [`ip6 daddr ${nthAddress(subnet6, 1)} accept`]),
    ...hostGateway.map((address) => `${ipFamily(address) === 4 ? 'ip' : 'ip6'} daddr ${address} accept`),
  ];
  // A forged source would make a packet part of a connection of the host's or of another step's.
  const sources = [
    `iifname != "${all}*" accept`,
    `meta nfproto ipv4 ip saddr != ${subnetText(subnet4)} drop`,
    `meta nfproto ipv6 ${subnet6 === undefined ? '' : `ip6 saddr != ${subnetText(subnet6)} `}drop`,
    ...(strict ? ['fib saddr . iif oif missing drop'] : []),
  ];
  const input = [
    `iifname != "${all}*" accept`,
    'ct state established,related accept',
    'icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept',
    'ip daddr 127.0.0.0/8 drop',
    ...(hostAccess === 'always' ? ['accept'] : []),
    ...(hostAccess === 'asked' ? gateways.map((rule) => `iifname "${asking}*" ${rule}`) : []),
    'meta l4proto tcp reject with tcp reset',
    'reject with icmpx type admin-prohibited',
  ];
  const forward = [
    ...guarded.map((name) => `iifname "${name}" oifname != "${linkPrefix}*" drop`),
    `oifname "${all}*" ct state established,related accept`,
    `iifname "${linkPrefix}*" oifname "${linkPrefix}*" reject with icmpx type admin-prohibited`,
    `oifname "${all}*" drop`,
    `iifname != "${all}*" accept`,
    ...refuse(4),
    ...refuse(6),
  ];
  const masquerade = [
    `ip saddr ${subnetText(subnet4)} oifname != "${linkPrefix}*" masquerade`,
    ...(subnet6 === undefined
      ? []
      : [`ip6 saddr ${subnetText(subnet6)} oifname != "${linkPrefix}*" masquerade`]),
  ];
  return [
    // Adding what is there already changes nothing, so that there is always something to delete.
    `add table ${table}`,
    `delete table ${table}`,
    `table ${table} {`,
    ...chain('sources', 'filter hook prerouting priority raw', sources),
    ...chain('input', 'filter hook input priority filter - 5', input),
    ...chain('forward', 'filter hook forward priority filter - 5', forward),
    ...chain('postrouting', 'nat hook postrouting priority srcnat', masquerade),
    '}',
    '',
  ].join('\n');
}

function chain(name: string, type: string, rules: readonly string[]): string[] {
  return [
    `  chain ${name} {`,
    `    type ${type}; policy accept;`,
    ...rules.map((rule) => `    ${rule}`),
    '  }',
  ];
}

/** The script for `nft -f -` that removes the table. */
export function nftRemoval(key: string): string {
  return `add table inet ${tableName(key)}\ndelete table inet ${tableName(key)}\n`;
}

/** The chains of one setting, and the jumps to them from the kernel's own chains. */
export function iptablesChains(key: string, hasGuard: boolean) {
  const name = (part: string) => `DRYDOCK-${key}-${part}`;
  return [
    { table: 'raw', chain: name('SRC'), from: 'PREROUTING', at: '-I' },
    { table: 'filter', chain: name('IN'), from: 'INPUT', at: '-I' },
    { table: 'filter', chain: name('FWD'), from: 'FORWARD', at: '-I' },
    ...(hasGuard ? [{ table: 'filter', chain: name('GUARD'), from: 'FORWARD', at: '-A' }] : []),
    { table: 'nat', chain: name('OUT'), from: 'POSTROUTING', at: '-A' },
  ];
}

/** The script for `iptables-restore --noflush` (family 4) or `ip6tables-restore --noflush` (family 6). */
export function iptablesRules(plan: RulePlan, family: 4 | 6): string {
  const { key, denied, hostAccess, guarded, strict } = plan;
  const subnet = (family === 4 ? plan.subnet4 : plan.subnet6) as Subnet;
  const { all, asking } = prefixesOf(key);
  const steps = `-i ${all}+`;
  const prohibit = `REJECT --reject-with ${family === 4 ? 'icmp-admin-prohibited' : 'icmp6-adm-prohibited'}`;
  // A program that tries TCP hears of it at once.
  const reset = '-j REJECT --reject-with tcp-reset';
  const state = '-m conntrack --ctstate RELATED,ESTABLISHED';
  const gateways = [nthAddress(subnet, 1), ...plan.hostGateway.filter((each) => ipFamily(each) === family)];
  const rules: Record<string, string[]> = {
    SRC: [
      `! ${steps} -j RETURN`,
      `! -s ${subnetText(subnet)} -j DROP`,
      ...(strict ? ['-m rpfilter --invert -j DROP'] : []),
    ],
    IN: [
      `! ${steps} -j RETURN`,
      `${state} -j RETURN`,
      ...(family === 6
        ? ['neighbour-solicitation', 'neighbour-advertisement'].map(
            (type) => `-p ipv6-icmp -m icmp6 --icmpv6-type ${type} -j RETURN`,
          )
        : ['-d 127.0.0.0/8 -j DROP']),
      ...(hostAccess === 'always' ? ['-j RETURN'] : []),
      ...(hostAccess === 'asked' ? gateways.map((each) => `-i ${asking}+ -d ${each} -j RETURN`) : []),
      `-p tcp ${reset}`,
      `-j ${prohibit}`,
    ],
    FWD: [
      `-o ${all}+ ${state} -j ACCEPT`,
      `-i ${linkPrefix}+ -o ${linkPrefix}+ -j ${prohibit}`,
      `-o ${all}+ -j DROP`,
      `! ${steps} -j RETURN`,
      ...denied
        .filter((net) => net.family === family)
        .flatMap((net) => [`-p tcp ${reset}`, `-j ${prohibit}`].map((how) => `-d ${subnetText(net)} ${how}`)),
      '-j ACCEPT',
    ],
    GUARD: guarded.map((name) => `-i ${name} ! -o ${linkPrefix}+ -j DROP`),
    OUT: [`-s ${subnetText(subnet)} ! -o ${linkPrefix}+ -j MASQUERADE`],
  };
  const chains = iptablesChains(key, guarded.length > 0);
  return inTables(chains, (chains) => [
    ...chains.map(({ chain }) => `:${chain} - [0:0]`),
    ...chains.flatMap(({ chain }) =>
      (rules[chain.split('-').at(-1) ?? ''] ?? []).map((rule) => `-A ${chain} ${rule}`),
    ),
    ...chains.map(({ at, from, chain }) => `${at} ${from} -j ${chain}`),
  ]);
}

/** The script that removes the chains. It fails as a whole where one of them is not there. */
export function iptablesRemoval(key: string, hasGuard: boolean): string {
  return inTables(iptablesChains(key, hasGuard), (chains) => [
    ...chains.map(({ from, chain }) => `-D ${from} -j ${chain}`),
    ...chains.flatMap(({ chain }) => [`-F ${chain}`, `-X ${chain}`]),
  ]);
}

type Chains = ReturnType<typeof iptablesChains>;

function inTables(chains: Chains, lines: (chains: Chains) => string[]): string {
  const tables = ['raw', 'filter', 'nat'].flatMap((table) => [
    `*${table}`,
    ...lines(chains.filter((each) => each.table === table)),
    'COMMIT',
  ]);
  return `${tables.join('\n')}\n`;
}

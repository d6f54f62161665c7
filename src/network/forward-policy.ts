/** Looks at what the host's rules do with packets that are forwarded, without any of the tools. */
import { readFileSync } from 'node:fs';
import { Netlink, readNetlinkAttributes } from '../linux/index.ts';

const NFNL_SUBSYS_NFTABLES = 10;
const NFT_MSG_GETCHAIN = 4;
const NFTA_CHAIN_HOOK = 4;
const NFTA_CHAIN_POLICY = 5;
const NFTA_HOOK_HOOKNUM = 1;
const NF_INET_FORWARD = 2;
const NF_DROP = 0;
const AF_INET = 2;
/** The fixed part of nfnetlink's messages: family, version, and a number. */
const headSize = 4;

/**
 * Whether rules of iptables may drop what is forwarded: a chain of the kernel's tables for IPv4 has the policy to (as
 * iptables-nft writes it), or there are tables of iptables-legacy, which cannot be looked into from here.
 */
export function dropsForwarded(): boolean {
  try {
    if (readFileSync('/proc/net/ip_tables_names', 'utf8').includes('filter')) return true;
  } catch {
    // The kernel has no such tables.
  }
  let netlink: Netlink | undefined;
  try {
    netlink = new Netlink('netfilter');
    const chains = netlink.list((NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETCHAIN, Buffer.of(AF_INET, 0, 0, 0));
    return chains.some((chain) => {
      const attributes = readNetlinkAttributes(chain.subarray(headSize));
      const hook = attributes.get(NFTA_CHAIN_HOOK);
      const place = hook && readNetlinkAttributes(hook).get(NFTA_HOOK_HOOKNUM)?.readUInt32BE();
      return place === NF_INET_FORWARD && attributes.get(NFTA_CHAIN_POLICY)?.readUInt32BE() === NF_DROP;
    });
  } catch {
    // A kernel without nf_tables, or no right to look.
    return true;
  } finally {
    netlink?.close();
  }
}

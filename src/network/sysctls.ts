/** The kernel's settings of interfaces (Documentation/networking/ip-sysctl.rst), in the calling thread's namespace. */

import { existsSync, writeFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { readText } from '../linux/index.ts';
import { linkPrefix } from './names.ts';

const conf = (family: 4 | 6, name: string, setting: string) =>
  `/proc/sys/net/ipv${family}/conf/${name}/${setting}`;

/** Writes a setting where the kernel has it. It is not touched when it is so already: it may be read-only. */
function set(file: string, value: string): void {
  const now = setting(file);
  if (now !== '' && now !== value) writeFileSync(file, value);
}

/** The text of a setting; '' where the kernel does not have it. */
export function setting(file: string): string {
  return readText(file).trim();
}

/** The host's end of a step's link: it forwards, and takes nothing from a source that is not at the other end. */
export function hostEndSettings(name: string, hasV6: boolean): void {
  set(conf(4, name, 'forwarding'), '1');
  set(conf(4, name, 'rp_filter'), '1');
  set(conf(4, name, 'accept_redirects'), '0');
  set(conf(4, name, 'send_redirects'), '0');
  set(conf(4, name, 'route_localnet'), '0');
  stepEndSettings(name, hasV6);
  if (!hasV6) return;
  set(conf(6, name, 'accept_redirects'), '0');
  set(conf(6, name, 'force_forwarding'), '1');
}

/** The step's end: no addresses but those that it is given. */
export function stepEndSettings(name: string, hasV6: boolean): void {
  if (hasV6) {
    set(conf(6, name, 'addr_gen_mode'), '1');
    set(conf(6, name, 'accept_ra'), '0');
  } else set(conf(6, name, 'disable_ipv6'), '1');
}

/** Lets the root of a step, which makes no packets itself, ask hosts for an echo (ping). */
export function allowPing(): void {
  try {
    set('/proc/sys/net/ipv4/ping_group_range', '0 0');
  } catch {
    // It is read-only here.
  }
}

/** Whether IPv6 can be forwarded without making the host deaf to the routers that it has its own route from. */
export function mayForwardV6(): boolean {
  return (
    setting('/proc/sys/net/ipv6/conf/all/forwarding') === '1' ||
    existsSync('/proc/sys/net/ipv6/conf/all/force_forwarding')
  );
}

/**
 * Has the interfaces by which answers come back forward them, one by one: the host at large stays what it is. Returns
 * the settings that were changed.
 */
export function forwardUplinks(hasV6: boolean): string[] {
  const changed: string[] = [];
  for (const [name, addresses = []] of Object.entries(networkInterfaces())) {
    if (name.startsWith(linkPrefix) || addresses.every(({ internal }) => internal)) continue;
    const files = [conf(4, name, 'forwarding')];
    if (hasV6 && setting(conf(6, name, 'forwarding')) !== '1') files.push(conf(6, name, 'force_forwarding'));
    for (const file of files) {
      if (setting(file) !== '0') continue;
      writeFileSync(file, '1');
      changed.push(file);
    }
  }
  return changed;
}

/** Takes back what `forwardUplinks` changed, unless the whole host was made to forward meanwhile. */
export function unforwardUplinks(files: readonly string[]): void {
  for (const file of files) {
    const all = file.replace(/conf\/[^/]+\/(?:force_)?forwarding$/, 'conf/all/forwarding');
    try {
      if (setting(all) !== '1') set(file, '0');
    } catch {
      // The interface is gone.
    }
  }
}

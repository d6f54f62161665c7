/**
 * Which devices a step may have. As BuildKit decides it:
 * https://github.com/moby/buildkit/blob/master/solver/llbsolver/vertex.go
 */
import { fail } from '../errors/index.ts';
import { csvFields } from '../words/index.ts';
import type { DeviceRegistry, DeviceRequest } from './registry.ts';

/** The devices that a build was granted. */
interface Granted {
  all: boolean;
  /** Wishes that are granted, and the devices that they stand for where they are other names (`alias`). */
  names: ReadonlyMap<string, string | undefined>;
}

/**
 * Reads the entitlements `device` (all devices) and `device=NAME[,alias=NAME]` among those of a build. Throws `invalid`
 * for one that cannot be read.
 */
function grantedDevices(allow: readonly string[]): Granted {
  const names = new Map<string, string | undefined>();
  let all = false;
  for (const entitlement of allow) {
    const [kind, config = ''] = entitlement.split(/=(.*)/s, 2);
    if (kind !== 'device') continue;
    if (config === '') {
      all = true;
      continue;
    }
    const bad = (why: string) => fail('invalid', 'client', `entitlement ${entitlement}: ${why}`);
    const [device = '', ...options] = csvFields(config, bad);
    let alias: string | undefined;
    for (const option of options) {
      const [key, value] = option.split(/=(.*)/s, 2);
      if (key !== 'alias' || !value)
        throw bad(`unknown device config ${JSON.stringify(option)}, want alias=NAME`);
      alias = value;
    }
    names.set(alias ?? device, alias === undefined ? undefined : device);
  }
  return { all, names };
}

/**
 * The devices that a step gets for its wishes, by their full names, in order. Throws `not-found` for a device that is
 * not there and must be, and `denied` for one that the build was not granted and that is not for all.
 */
export async function grantDevices(
  requests: readonly DeviceRequest[],
  allow: readonly string[],
  registry: DeviceRegistry,
): Promise<string[]> {
  const granted = grantedDevices(allow);
  const names = new Set<string>();
  const forbidden: string[] = [];
  const open = new Set<string>();
  for (const name of granted.names.keys()) {
    if (granted.names.get(name) !== undefined) continue;
    for (const device of await registry.find({ name, optional: true })) open.add(device.name);
  }
  for (const request of requests) {
    const alias = granted.names.get(request.name);
    if (alias !== undefined) {
      for (const { name } of await registry.find({ ...request, name: alias })) names.add(name);
      continue;
    }
    for (const { name, autoAllow } of await registry.find(request)) {
      if (granted.all || autoAllow || open.has(name)) names.add(name);
      else forbidden.push(name);
    }
  }
  const [first] = forbidden;
  if (first === undefined) return [...names];
  const what = forbidden.length === 1 ? `device ${first} is` : `devices ${forbidden.join(', ')} are`;
  throw fail('denied', 'solver', `${what} requested by the build but not allowed`, {
    hint: `Grant it with --allow device=${first}, or all devices with --allow device.`,
    details: { entitlement: `device=${first}` },
  });
}

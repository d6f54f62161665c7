/** Puts the devices that steps get in the place of those that they ask for. */
import { type DeviceRegistry, grantDevices } from '../cdi/index.ts';
import { DrydockError } from '../errors/index.ts';
import type { DeviceRewrite, Graph } from '../llb/index.ts';
import type { ExecOp } from '../pb/solver/pb/ops_pb.js';

type Devices = ExecOp['cdiDevices'];

/**
 * The devices of the steps of a graph, by what they ask for; undefined when every step gets what it asks for as it is.
 * What a step gets is part of its digest then, so that it is cached for those devices alone. Throws `not-found` for a
 * device that must be there and is not, and `denied` for one that the build was not granted; both name the step.
 */
export async function deviceRewrite(
  graph: Graph,
  allow: readonly string[],
  registry: DeviceRegistry,
): Promise<DeviceRewrite | undefined> {
  const found = new Map<string, Devices>();
  let changes = false;
  for (const { op, name, source } of graph.vertices) {
    if (op.op.case !== 'exec') continue;
    const asked = op.op.value.cdiDevices;
    const key = keyOf(asked);
    if (asked.length === 0 || found.has(key)) continue;
    try {
      const names = await grantDevices(asked, allow, registry);
      const same = names.join() === asked.map((device) => device.name).join();
      found.set(key, same ? asked : names.map((each) => deviceOf(each, asked)));
      if (!same) changes = true;
    } catch (err) {
      if (err instanceof DrydockError) {
        err.step ??= name;
        err.source ??= source;
      }
      throw err;
    }
  }
  if (!changes) return undefined;
  return (asked) => {
    const devices = found.get(keyOf(asked)) ?? asked;
    return keyOf(devices) === keyOf(asked) ? asked : devices;
  };
}

function deviceOf(name: string, asked: Devices): Devices[number] {
  const optional = asked.find((device) => device.name === name)?.optional ?? false;
  return { $typeName: 'pb.CDIDevice', name, optional };
}

function keyOf(devices: Devices): string {
  return JSON.stringify(devices.map(({ name, optional }) => [name, optional]));
}

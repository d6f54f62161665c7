/**
 * The one worker, as clients are told of it. Labels: https://github.com/moby/buildkit/blob/master/worker/label/label.go
 */
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { pbPlatform } from '../../../llb/index.ts';
import {
  BuildkitVersionSchema,
  CDIDeviceSchema,
  type GCPolicySchema,
  type WorkerRecord,
  WorkerRecordSchema,
} from '../../../pb/moby/buildkit/v1/types/worker_pb.js';
import type { PruneRule } from '../../../upkeep/index.ts';
import { buildkitApi, dockerfileVersion, version } from '../../../version.ts';
import type { ApiHost } from '../../shared/host.ts';
import type { BuildkitOptions } from '../services.ts';

const prefix = 'org.mobyproject.buildkit.worker.';

export const buildkitVersion = create(BuildkitVersionSchema, {
  package: 'github.com/moby/buildkit',
  version: `${buildkitApi}-drydock.${version}`,
  revision: '',
  dockerfileVersion,
});

/** The record of the one worker, but for its platforms. */
export function workerRecord(host: ApiHost, options: BuildkitOptions): WorkerRecord {
  const { store, rights, sandbox } = host.engine;
  const { apparmorProfile: apparmor } = rights;
  const labels: Record<string, string> = {
    [`${prefix}executor`]: host.containerd === undefined ? 'oci' : 'containerd',
    [`${prefix}snapshotter`]: store.lazy?.wanted === true ? 'stargz' : store.snapshotter,
    [`${prefix}hostname`]: host.hostname,
    [`${prefix}selinux.enabled`]: String(rights.selinux === true),
    ...(apparmor === undefined ? {} : { [`${prefix}apparmor.profile`]: apparmor }),
    ...(host.containerd === undefined
      ? { [`${prefix}oci.process-mode`]: sandbox.noProcessSandbox === true ? 'no-sandbox' : 'sandbox' }
      : { [`${prefix}containerd.namespace`]: host.containerd.namespace }),
    ...options.labels,
  };
  return create(WorkerRecordSchema, {
    ID: workerId(store.root),
    Labels: labels,
    GCPolicy: host.engine.gc.rules.map(gcPolicy),
    BuildkitVersion: buildkitVersion,
  });
}

/** The record with the platforms that clients are told of: those that the operator has named, else those that run now. */
export async function withPlatforms(
  record: WorkerRecord,
  host: ApiHost,
  options: BuildkitOptions,
): Promise<WorkerRecord> {
  const platforms = options.platforms ?? (await host.engine.emulation.platforms());
  return { ...record, platforms: platforms.map(pbPlatform) };
}

/** The devices that steps can have, at the moment. */
export async function workerDevices(host: ApiHost): Promise<WorkerRecord['CDIDevices']> {
  const devices = await host.engine.devices.list();
  return devices.map(({ name, autoAllow, annotations }) =>
    create(CDIDeviceSchema, { Name: name, AutoAllow: autoAllow, Annotations: { ...annotations } }),
  );
}

/** The record with what is only known once somebody asks: how steps are connected. */
export async function workerNow(record: WorkerRecord, host: ApiHost): Promise<WorkerRecord> {
  try {
    const { kind, hostAddress } = await host.engine.network.look();
    return {
      ...record,
      Labels: {
        // buildkitd calls its own bridge so as well.
        [`${prefix}network`]: kind === 'bridge' ? 'cni' : kind,
        // buildx puts it in the place of `host-gateway`.
        [`${prefix}moby.host-gateway-ip`]: hostAddress,
        ...record.Labels,
      },
    };
  } catch {
    // Builds hear what is wrong.
    return record;
  }
}

function gcPolicy(rule: PruneRule): MessageInitShape<typeof GCPolicySchema> {
  const bytes = (space = 0) => BigInt(Math.round(space));
  return {
    all: rule.all ?? false,
    filters: [...(rule.filters ?? [])],
    keepDuration: BigInt(Math.round((rule.unusedFor ?? 0) * 1e6)),
    reservedSpace: bytes(rule.reservedSpace),
    maxUsedSpace: bytes(rule.maxUsedSpace),
    minFreeSpace: bytes(rule.minFreeSpace),
  };
}

/** The ID of the worker. It stays the same from start to start. */
function workerId(root: string): string {
  const file = join(root, 'workerid');
  try {
    const id = readFileSync(file, 'utf8').trim();
    if (/^[a-z0-9]{10,64}$/.test(id)) return id;
  } catch {
    // The first start.
  }
  const id = randomBytes(13).toString('hex').slice(0, 25);
  writeFileSync(file, id, { mode: 0o600 });
  return id;
}

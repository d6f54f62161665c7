/**
 * A node of a cluster: the pods of packaging/kubernetes as containers of a real dockerd, each in a network namespace with an
 * address of its own, with the volumes, rights, probes and ends that a kubelet gives them; and the Service before them.
 */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { TestDockerd } from '../dockerd.ts';

const run = promisify(execFile);

/** What a kubelet has from elsewhere for a pod's volumes, by their names: files, or a folder (a claim's disk). */
export type VolumeSources = Record<string, Record<string, string> | { folder: string }>;

export interface NodePod {
  readonly name: string;
  /** Its own address in the pods' network. */
  readonly address: string;
  /** Runs a program in it; its exit code. */
  exec(command: readonly string[]): Promise<number>;
  log(): Promise<string>;
  /** Ends it as the kubelet does: out of the Service, preStop, SIGTERM, SIGKILL after the grace. Gives its exit code. */
  end(): Promise<number>;
  /** Kills it, as a node that fails does. */
  kill(): Promise<void>;
}

export interface Node {
  /** The address of the machine in the pods' network. */
  readonly gateway: string;
  /** The Service's port on 127.0.0.1; connections go to pods that are ready. */
  readonly servicePort: number;
  /** Starts a pod of a template (`spec.template`), and resolves when its startup probe has succeeded. */
  start(name: string, template: Template, sources: VolumeSources, options?: StartOptions): Promise<NodePod>;
  stop(): Promise<void>;
}

interface StartOptions {
  /** Folders of the machine, as further volumes: path in the pod by folder. */
  shared?: Record<string, string>;
}

// biome-ignore lint/suspicious/noExplicitAny: manifests have many shapes, and their schemas check these.
type Template = { spec: any };
type Container = Template['spec'];

/** How often a probe is made here, in ms; a kubelet has seconds. */
const probeMs = 500;

/** Makes the network of the pods and the Service for a port of theirs. */
export async function startNode(dockerd: TestDockerd, port: number): Promise<Node> {
  const docker = async (...args: string[]) => {
    const { stdout } = await run('/usr/bin/docker', ['-H', dockerd.host, ...args], { maxBuffer: 16 << 20 });
    return stdout.trim();
  };
  // A test that was killed leaves its bridge: the next one has another network.
  const subnet = `172.31.${100 + (process.pid % 150)}`;
  const addresses = ['--subnet', `${subnet}.0/24`, '--gateway', `${subnet}.1`];
  await docker('network', 'create', ...addresses, 'pods');
  /** The pods that take part in the Service, the oldest first. */
  const ready = new Map<string, NodePod>();
  let isOver = false;
  const service = createServer((client) => {
    client.on('error', () => {});
    const [pod] = ready.values();
    if (pod === undefined) return void client.destroy();
    const way = connect(port, pod.address);
    way.on('error', () => client.destroy());
    client.once('close', () => way.destroy());
    way.once('close', () => client.destroy());
    client.pipe(way).pipe(client);
  });
  service.listen(0, '127.0.0.1');
  await once(service, 'listening');

  async function start(
    name: string,
    { spec }: Template,
    sources: VolumeSources,
    { shared = {} }: StartOptions = {},
  ): Promise<NodePod> {
    const folders = volumesOf(join(dockerd.dir, 'pods', name), spec, sources);
    const argsOf = (container: Container) => [
      ...rights(spec, container),
      ...(container.env ?? []).flatMap((each: { name: string; value: string }) => [
        '-e',
        `${each.name}=${each.value}`,
      ]),
      ...(container.volumeMounts ?? []).flatMap(
        (mount: { name: string; mountPath: string; readOnly?: boolean }) => [
          '-v',
          `${folders.get(mount.name)}:${mount.mountPath}${mount.readOnly ? ':ro' : ''}`,
        ],
      ),
      ...Object.entries(shared).flatMap(([folder, path]) => ['-v', `${folder}:${path}`]),
    ];
    for (const init of spec.initContainers ?? []) {
      const [first, ...rest] = [...init.command, ...(init.args ?? [])];
      await docker(
        'run',
        '--rm',
        '--network',
        'none',
        ...argsOf(init),
        '--entrypoint',
        first,
        init.image,
        ...rest,
      );
    }
    const [main] = spec.containers;
    await docker('run', '-d', '--name', name, '--network', 'pods', ...argsOf(main), main.image, ...main.args);
    const address = await docker('inspect', '-f', '{{.NetworkSettings.Networks.pods.IPAddress}}', name);
    let isEnding = false;
    const pod: NodePod = {
      name,
      address,
      exec: (command) =>
        docker('exec', name, ...command).then(
          () => 0,
          (err: { code?: number }) => err.code ?? 1,
        ),
      log: async () => {
        const { stdout, stderr } = await run('/usr/bin/docker', ['-H', dockerd.host, 'logs', name]);
        return stdout + stderr;
      },
      async end() {
        isEnding = true;
        ready.delete(name);
        await sleep((main.lifecycle?.preStop?.sleep?.seconds ?? 0) * 1000);
        await docker('stop', '--time', String(spec.terminationGracePeriodSeconds), name);
        const code = Number(await docker('inspect', '-f', '{{.State.ExitCode}}', name));
        await docker('rm', name);
        return code;
      },
      async kill() {
        isEnding = true;
        ready.delete(name);
        await docker('rm', '--force', name);
      },
    };
    const { startupProbe, readinessProbe } = main;
    for (let tries = 0; (await pod.exec(startupProbe.exec.command)) !== 0; tries++) {
      if (tries > startupProbe.failureThreshold)
        throw new Error(`the pod ${name} does not start: ${await pod.log()}`);
      await sleep(probeMs);
    }
    ready.set(name, pod);
    void (async () => {
      while (!isEnding && !isOver) {
        await sleep(probeMs);
        const isReady = (await pod.exec(readinessProbe.exec.command)) === 0;
        if (isReady && !isEnding) ready.set(name, pod);
        else ready.delete(name);
      }
    })();
    return pod;
  }

  return {
    gateway: `${subnet}.1`,
    servicePort: (service.address() as AddressInfo).port,
    start,
    async stop() {
      isOver = true;
      service.close();
      const left = (await docker('ps', '-aq')).split('\n').filter((id) => id !== '');
      if (left.length > 0) await docker('rm', '--force', '--volumes', ...left);
      await docker('network', 'rm', 'pods');
    },
  };
}

/** Makes the pod's volumes, as a kubelet does: of the group `fsGroup`, which new files take over. */
function volumesOf(dir: string, spec: Template['spec'], sources: VolumeSources): Map<string, string> {
  const folders = new Map<string, string>();
  const { fsGroup } = spec.securityContext ?? {};
  const names = new Set([
    ...spec.volumes.map((each: { name: string }) => each.name),
    ...Object.keys(sources),
  ]);
  for (const name of names as Set<string>) {
    const source = sources[name];
    const isFolder = typeof source?.folder === 'string';
    const folder = isFolder ? (source.folder as string) : join(dir, name);
    mkdirSync(folder, { recursive: true });
    if (source !== undefined && !isFolder) {
      for (const [file, text] of Object.entries(source)) {
        writeFileSync(join(folder, file), text, { mode: 0o440 });
        if (fsGroup !== undefined) chownSync(join(folder, file), 0, fsGroup);
      }
    }
    if (fsGroup !== undefined) {
      chownSync(folder, 0, fsGroup);
      chmodSync(folder, 0o2775);
    }
    folders.set(name, folder);
  }
  return folders;
}

/** docker's options for the rights that a pod and its container ask for. */
function rights(
  { securityContext: pod = {} }: Template['spec'],
  { securityContext: own = {} }: Container,
): string[] {
  const { capabilities = {} } = own;
  const user = own.runAsUser ?? pod.runAsUser;
  return [
    ...(user === undefined ? [] : ['--user', `${user}:${pod.runAsGroup ?? user}`]),
    ...(pod.fsGroup === undefined ? [] : ['--group-add', String(pod.fsGroup)]),
    ...(capabilities.drop ?? []).flatMap((name: string) => ['--cap-drop', name]),
    ...(capabilities.add ?? []).flatMap((name: string) => ['--cap-add', name]),
    ...(pod.seccompProfile?.type === 'Unconfined' ? ['--security-opt', 'seccomp=unconfined'] : []),
    ...(pod.appArmorProfile?.type === 'Unconfined' ? ['--security-opt', 'apparmor=unconfined'] : []),
    ...(own.allowPrivilegeEscalation === false ? ['--security-opt', 'no-new-privileges'] : []),
  ];
}

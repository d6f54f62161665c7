/** The parts of an image's config that grow with every instruction, in a form that stages built on stages share. */

import { Variables } from '../../../llb/index.ts';
import type { ContainerConfig, ImageConfig } from '../../../oci/index.ts';
import { containerOf, splitEnv } from './image.ts';

type HistoryEntry = NonNullable<ImageConfig['history']>[number];

/** The newest history entry, on all entries before it. */
interface HistoryChain {
  readonly entry: HistoryEntry;
  readonly before: HistoryChain | undefined;
  /** The number of entries, with all before it. */
  readonly length: number;
}

export interface Grown {
  env: Variables;
  labels: Variables;
  /** The names of volumes and exposed ports. */
  volumes: Variables;
  ports: Variables;
  history: HistoryChain | undefined;
}

/** The grown parts of an empty config. */
export function nothingGrown(): Grown {
  const none = Variables.of();
  return { env: none, labels: none, volumes: none, ports: none, history: undefined };
}

/** The grown parts of bases that many stages may begin with. */
const ofBases = new WeakMap<ImageConfig, Grown>();

/**
 * Takes the grown parts out of an image's config; `base` is the config that it is a copy of. Yields after each part.
 */
export function* takeGrown(image: ImageConfig, base?: ImageConfig): Generator<void, Grown> {
  const { Env, Labels, Volumes, ExposedPorts, ...config } = containerOf(image);
  image.config = config;
  const known = base && ofBases.get(base);
  if (known !== undefined) {
    delete image.history;
    return { ...known };
  }
  let history: HistoryChain | undefined;
  for (const entry of image.history ?? [])
    history = { entry, before: history, length: (history?.length ?? 0) + 1 };
  delete image.history;
  yield;
  const names = (set: Readonly<Record<string, unknown>> | undefined) =>
    Variables.of(Object.keys(set ?? {}).map((name) => [name, '']));
  const env = Variables.of((Env ?? []).map(splitEnv));
  yield;
  const labels = Variables.of(Object.entries(Labels ?? {}));
  yield;
  const volumes = names(Volumes);
  yield;
  const ports = names(ExposedPorts);
  yield;
  const grown: Grown = { env, labels, volumes, ports, history };
  if (base !== undefined) ofBases.set(base, grown);
  return { ...grown };
}

/** Puts the grown parts back. Empty parts are left out. */
export function withGrown(image: ImageConfig, grown: Grown): ImageConfig {
  const more: ContainerConfig = {};
  if (grown.env.size > 0) more.Env = [...grown.env].map(([name, value]) => `${name}=${value}`);
  if (grown.labels.size > 0) more.Labels = Object.fromEntries(grown.labels);
  if (grown.volumes.size > 0) more.Volumes = setOf(grown.volumes);
  if (grown.ports.size > 0) more.ExposedPorts = setOf(grown.ports);
  const history: HistoryEntry[] = [];
  for (let at = grown.history; at !== undefined; at = at.before) history.push(at.entry);
  const whole: ImageConfig = { ...image, config: { ...containerOf(image), ...more } };
  if (history.length > 0) whole.history = history.reverse();
  return whole;
}

function setOf(names: Variables): Record<string, Record<string, never>> {
  return Object.fromEntries([...names.keys()].map((name) => [name, {}]));
}

/** The parts of an image's config that grow with every instruction, so that stages built on stages share them. */

import { Variables } from '../../../llb/variables.ts';
import type { ContainerConfig, ImageConfig } from '../../../oci/types.ts';
import { containerOf, splitEnv } from './image.ts';

type HistoryEntry = NonNullable<ImageConfig['history']>[number];

/** The newest entry, on all before it. */
export interface History {
  readonly entry: HistoryEntry;
  readonly before: History | undefined;
}

export interface Grown {
  env: Variables;
  labels: Variables;
  /** The names of volumes and exposed ports. */
  volumes: Variables;
  ports: Variables;
  history: History | undefined;
}

/** Takes them out of an image's config. */
export function takeGrown(image: ImageConfig): Grown {
  const { Env, Labels, Volumes, ExposedPorts, ...config } = containerOf(image);
  image.config = config;
  let history: History | undefined;
  for (const entry of image.history ?? []) history = { entry, before: history };
  delete image.history;
  const names = (set: Readonly<Record<string, unknown>> | undefined) =>
    Variables.of(Object.keys(set ?? {}).map((name) => [name, '']));
  return {
    env: Variables.of((Env ?? []).map(splitEnv)),
    labels: Variables.of(Object.entries(Labels ?? {})),
    volumes: names(Volumes),
    ports: names(ExposedPorts),
    history,
  };
}

/** Puts them back. What is empty is left out. */
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

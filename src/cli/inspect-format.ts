/** `drydock inspect --format`: one image as a template says. Pure. */
import { jsonOf, mapsOf, StringMap, Struct, template, type Value } from '../templates/index.ts';

/** The fields of docker's ImageInspect whose keys are the user's own: what they lack is no error. */
const maps = new Set(['ExposedPorts', 'Volumes', 'Data']);
const stringMaps = new Set(['Labels', 'Annotations', 'annotations']);

/** Fields that docker has although the image's JSON leaves them out, and what they are then. */
const absent: Record<string, Value> = { Variant: '', OsVersion: '' };
const absentInConfig: Record<string, Value> = {
  User: '',
  ExposedPorts: new Map(),
  Env: [],
  Cmd: [],
  Entrypoint: [],
  Healthcheck: null,
  Labels: new StringMap(),
  OnBuild: [],
  Shell: [],
  StopSignal: '',
  Volumes: new Map(),
  WorkingDir: '',
  ArgsEscaped: false,
};

/**
 * The function that writes an object, each ended by a new line, as `json` (a line) or a template says. Throws `invalid`,
 * also for fields that there are not.
 */
export function inspectFormat(format: string): (found: object) => string {
  if (format === 'json') return (found) => `${JSON.stringify(found)}\n`;
  const fill = template(format);
  return (found) => {
    const image = structOf(found) as Struct;
    if (!('RootFS' in image.fields)) return `${fill(image)}\n`;
    const config = image.fields.Config;
    const Config =
      config instanceof Struct ? new Struct({ ...absentInConfig, ...config.fields }, jsonOf(config)) : config;
    return `${fill(new Struct({ ...absent, ...image.fields, Config }, found))}\n`;
  };
}

function structOf(json: unknown): Value {
  if (Array.isArray(json)) return json.map(structOf);
  if (typeof json !== 'object' || json === null) return json as Value;
  const fields = Object.entries(json).map(([name, value]) => [
    name,
    stringMaps.has(name)
      ? new StringMap(Object.entries((value ?? {}) as Record<string, string>))
      : maps.has(name)
        ? mapsOf(value ?? {})
        : structOf(value),
  ]);
  return new Struct(Object.fromEntries(fields), json);
}

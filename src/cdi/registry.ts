/** The devices of this machine: those that the CDI files in some folders describe. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { errnoCode, fail, toDrydockError } from '../errors/index.ts';
import { parseBool } from '../words/index.ts';
import { type CdiSpec, type ContainerEdits, joinEdits } from './types.ts';

/** The folders that are read by default; the later one wins where two describe the same device. As in BuildKit. */
const defaultSpecDirs = ['/etc/cdi', '/var/run/cdi', '/etc/buildkit/cdi'];

/** The annotations that BuildKit gave a meaning. */
const classAnnotation = 'org.mobyproject.buildkit.device.class';
const autoAllowAnnotation = 'org.mobyproject.buildkit.device.autoallow';

/** How devices are looked for. */
export interface CdiOptions {
  /** There are no devices at all. */
  disabled?: boolean;
  /** The folders of CDI files; default: `defaultSpecDirs`. */
  specDirs?: readonly string[];
  /** Devices (`vendor.com/class=name`) and kinds (`vendor.com/class`) that every build may have without being granted them. */
  autoAllowed?: readonly string[];
}

/** A device by its full name, `vendor.com/class=name`. */
interface FoundDevice {
  name: string;
  /** Every build may have it. */
  autoAllow: boolean;
  annotations: Readonly<Record<string, string>>;
}

/** A step's wish for a device, as LLB has it. */
export interface DeviceRequest {
  name: string;
  optional: boolean;
}

interface KnownDevice extends FoundDevice {
  spec: CdiSpec;
  edits: ContainerEdits;
  file: string;
  /** The number of the folder. */
  priority: number;
}

interface State {
  devices: ReadonlyMap<string, KnownDevice>;
  /** A sentence for each file that is of no use. */
  problems: readonly string[];
}

/** Reads the folders anew whenever it is asked; files that have not changed are not parsed again. */
export class DeviceRegistry {
  readonly specDirs: readonly string[];
  readonly #autoAllowed: ReadonlySet<string>;
  #state: { stamp: string; state: Promise<State> } | undefined;

  constructor({ disabled, specDirs, autoAllowed }: CdiOptions = {}) {
    this.specDirs = disabled === true ? [] : (specDirs ?? defaultSpecDirs);
    this.#autoAllowed = new Set(autoAllowed ?? []);
  }

  /** All devices, by name. */
  async list(): Promise<FoundDevice[]> {
    return [...(await this.#read()).devices.values()].map(({ name, autoAllow, annotations }) => ({
      name,
      autoAllow,
      annotations,
    }));
  }

  /** What is wrong with files of the folders, a sentence each. */
  async problems(): Promise<readonly string[]> {
    return (await this.#read()).problems;
  }

  /**
   * The devices that a wish stands for: one by its full name; the first of a kind (`vendor.com/class`); all of a kind
   * (`vendor.com/class=*`); else those of a class (the annotation `org.mobyproject.buildkit.device.class`). Throws
   * `not-found` when there is none and the wish is not optional.
   */
  async find({ name, optional }: DeviceRequest): Promise<FoundDevice[]> {
    const { devices, problems } = await this.#read();
    const all = [...devices.values()];
    const [kind = '', wanted = ''] = name.split(/=(.*)/s, 2);
    const ofKind = all.filter((device) => device.name.startsWith(`${kind}=`));
    let found: KnownDevice[] = [];
    if (/^[^/]+\/./.test(kind)) {
      if (wanted === '') found = ofKind.slice(0, 1);
      else if (wanted === '*') found = ofKind;
      else found = all.filter((device) => device.name === name);
    }
    if (found.length === 0) found = all.filter(({ annotations }) => annotations[classAnnotation] === name);
    if (found.length > 0 || optional) return found;
    throw fail('not-found', 'exec', `required device ${JSON.stringify(name)} is not registered`, {
      hint: hintFor(this.specDirs, problems, [...devices.keys()]),
    });
  }

  /** What a container gets for these devices, by their full names. Throws `not-found` for one that is gone meanwhile. */
  async edits(names: readonly string[]): Promise<ContainerEdits> {
    const { devices, problems } = await this.#read();
    const specs = new Set<CdiSpec>();
    const list: ContainerEdits[] = [];
    for (const name of names) {
      const device = devices.get(name);
      if (device === undefined) {
        throw fail('not-found', 'exec', `the device ${name} is not registered any more`, {
          hint: hintFor(this.specDirs, problems, [...devices.keys()]),
        });
      }
      if (!specs.has(device.spec)) list.push(device.spec.edits);
      specs.add(device.spec);
      list.push(device.edits);
    }
    return joinEdits(list);
  }

  #read(): Promise<State> {
    const files = this.specDirs.flatMap(filesIn);
    const stamp = JSON.stringify(files);
    if (this.#state?.stamp !== stamp) this.#state = { stamp, state: this.#load(files) };
    return this.#state.state;
  }

  async #load(files: readonly SpecFile[]): Promise<State> {
    const devices = new Map<string, KnownDevice>();
    const problems: string[] = [];
    const conflicts = new Set<string>();
    // Loaded when a file is there: builds without devices do without a reader of YAML.
    const reader = files.length === 0 ? undefined : await import('./read-spec.ts');
    for (const { path, priority } of files) {
      try {
        const spec = (reader as NonNullable<typeof reader>).readSpec(readFileSync(path, 'utf8'));
        for (const device of spec.devices) {
          const name = `${spec.kind}=${device.name}`;
          const other = devices.get(name);
          if (other?.priority === priority) {
            problems.push(`${path}: the device ${name} is in ${other.file} as well, so there is none`);
            conflicts.add(name);
          }
          const annotations = { ...spec.annotations, ...device.annotations };
          const autoAllow =
            this.#autoAllowed.has(name) ||
            this.#autoAllowed.has(spec.kind) ||
            parseBool(annotations[autoAllowAnnotation] ?? '') === true;
          devices.set(name, {
            name,
            autoAllow,
            annotations,
            spec,
            edits: device.edits,
            file: path,
            priority,
          });
        }
      } catch (err) {
        problems.push(`${path}: ${toDrydockError(err, 'exec').message}`);
      }
    }
    for (const name of conflicts) devices.delete(name);
    return { devices: new Map([...devices].sort(([a], [b]) => (a < b ? -1 : 1))), problems };
  }
}

interface SpecFile {
  path: string;
  priority: number;
  /** Differs when the file has changed. */
  state: string;
}

/** The files of a folder, by name. A folder that is not there has none. */
function filesIn(dir: string, priority: number): SpecFile[] {
  let names: string[];
  try {
    names = readdirSync(dir).sort();
  } catch (err) {
    if (['ENOENT', 'ENOTDIR', 'EACCES'].includes(errnoCode(err) ?? '')) return [];
    throw err;
  }
  return names
    .filter((name) => /\.(json|ya?ml)$/.test(name))
    .flatMap((name) => {
      const path = join(dir, name);
      const found = statSync(path, { bigint: true, throwIfNoEntry: false });
      if (!found?.isFile()) return [];
      return [{ path, priority, state: `${found.ino} ${found.size} ${found.mtimeNs} ${found.ctimeNs}` }];
    });
}

function hintFor(dirs: readonly string[], problems: readonly string[], names: readonly string[]): string {
  if (dirs.length === 0) return 'Devices (CDI) are switched off here.';
  const [problem] = problems;
  if (problem !== undefined) return `A file of devices is of no use: ${problem}.`;
  if (names.length > 0) return `There are: ${names.slice(0, 8).join(', ')}${names.length > 8 ? ' …' : ''}.`;
  return `No device is described in ${dirs.join(', ')}.`;
}

/** Builds of Dockerfiles in an engine of the test's own, and what came out of them. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { findImage } from '../../src/distribution/stored.ts';
import { type Engine, openEngine } from '../../src/engine/engine.ts';
import { openView } from '../../src/fs/open.ts';
import { specOfMounts } from '../../src/fs/view.ts';
import { inspectImage } from '../../src/images/inspect.ts';
import { chainId } from '../../src/oci/digest.ts';
import type { ImageConfig } from '../../src/oci/types.ts';
import type { VertexEvent } from '../../src/progress/events.ts';
import { build, type DockerfileOptions } from '../../src/sdk/build.ts';
import { busyboxRoot } from './busybox.ts';

/** Path → text, `-> target` for a symlink, `/` at a folder's end; a tuple adds permissions. */
export type Files = Record<string, string | [text: string, mode: number]>;

export interface Built {
  /** The image's ID. */
  id: string;
  /** The image's config as `inspect` shows it. */
  config: NonNullable<ImageConfig['config']>;
  history: string[];
  /** Text of a file in the image. */
  read(path: string): string;
  /** `type mode uid:gid` of a file, with its target when it is a symlink; undefined when it is not there. */
  stat(path: string): string | undefined;
  /** Paths below a folder, folders with a slash at their end. */
  list(path: string): string[];
}

export class Builds {
  readonly dir = mkdtempSync(join(tmpdir(), 'drydock-build-'));
  engine!: Engine;
  /** Steps of the last build, by name. */
  steps = new Map<string, VertexEvent>();
  logs = '';

  /** Opens the engine with an image `base` in it: busybox with users ann (1000:1001) and groups wheel and video. */
  async open(options: Partial<Parameters<typeof openEngine>[0]> = {}): Promise<void> {
    await this.use(await openEngine({ root: join(this.dir, 'root'), ...options }));
  }

  /** `open` with an engine that is open. */
  async use(engine: Engine): Promise<void> {
    this.engine = engine;
    await this.makeBase();
  }

  /** Makes the image `base`; `open` did already. */
  async makeBase(): Promise<void> {
    const root = join(this.dir, 'base');
    if (!existsSync(root)) busyboxRoot(root);
    const text = 'FROM scratch\nCOPY . /\nRUN chmod 1777 /tmp\nENV PATH=/bin\nCMD ["sh"]\n';
    await this.build(text, undefined, { context: root, tags: ['base'] });
  }

  async close(): Promise<void> {
    await this.engine.close();
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** A folder with files. */
  context(files: Files): string {
    const dir = mkdtempSync(join(this.dir, 'context-'));
    for (const [name, what] of Object.entries(files)) {
      const path = join(dir, name);
      const [text, mode] = typeof what === 'string' ? [what, 0o644] : what;
      mkdirSync(name.endsWith('/') ? path : dirname(path), { recursive: true });
      if (name.endsWith('/')) continue;
      if (text.startsWith('-> ')) symlinkSync(text.slice(3), path);
      else writeFileSync(path, text, { mode });
    }
    return dir;
  }

  /** Builds a Dockerfile (`FROM base` is put above one without FROM) and looks at the image. */
  async build(
    dockerfile: string,
    files: Files = {},
    options: Partial<DockerfileOptions> = {},
  ): Promise<Built> {
    const text = /^\s*FROM/im.test(dockerfile) ? dockerfile : `FROM base\n${dockerfile}`;
    this.steps.clear();
    this.logs = '';
    const tags = options.tags ?? ['test'];
    await build({
      context: options.context ?? this.context(files),
      dockerfileText: text,
      engine: this.engine,
      tags,
      credentials: async () => undefined,
      progress: {
        vertex: (event) => void this.steps.set(event.name, event),
        log: ({ data }) => {
          this.logs += data.toString();
        },
      },
      ...options,
    });
    return this.look(tags[0] as string);
  }

  /** Looks at an image of the store. */
  async look(name: string): Promise<Built> {
    const { store } = this.engine;
    const { image } = await findImage(store, name);
    const { Config } = await inspectImage(store, name);
    const chain = chainId(image.config.rootfs.diff_ids);
    const snapshot = chain === undefined ? undefined : await store.snapshots.byChain(chain);
    const opened = snapshot && (await store.snapshots.view(snapshot.key));
    const view = openView(opened === undefined ? { kind: 'empty' } : specOfMounts(opened.mounts));
    await opened?.release();
    const get = (path: string) => {
      const entry = view.lstat(path);
      if (entry === undefined) throw new Error(`the image has no ${path}`);
      return entry;
    };
    const list = (path: string): string[] =>
      view
        .readdir(path)
        .flatMap((entry) => (entry.type === 'dir' ? [`${entry.path}/`, ...list(entry.path)] : [entry.path]));
    return {
      id: image.id,
      config: Config,
      history: (image.config.history ?? []).map((entry) => entry.created_by ?? ''),
      read: (path) => readFileSync(get(path).hostPath, 'utf8'),
      stat(path) {
        const entry = view.lstat(path);
        if (entry === undefined) return undefined;
        const { type, mode, uid, gid, link } = entry;
        if (type === 'symlink') return `${type} ${link} ${uid}:${gid}`;
        return `${type} ${mode.toString(8)} ${uid}:${gid}`;
      },
      list,
    };
  }
}

/** Drydock's own ScanOp: lists the packages of its inputs, in a file for each. */
import { randomUUID } from 'node:crypto';
import { fail } from '../errors/index.ts';
import { specOfMounts, type ViewSpec } from '../fs/index.ts';
import { digestOf } from '../oci/index.ts';
import type { SbomFormat } from '../sbom/index.ts';
import { refContext } from '../solver/index.ts';
import { explainDisk, type Ref } from '../store/index.ts';
import { version } from '../version.ts';
import { runTask } from '../workers/index.ts';
import { checkInputs } from './check-inputs.ts';
import type { OpMaker } from './deps.ts';

/** Counts up when the scanner finds other things, so that lists are made anew. */
const scannerVersion = 2;
const formats: readonly string[] = ['spdx', 'cyclonedx'] satisfies SbomFormat[];

export const scanOp: OpMaker = (vertex, { store, refs }) => {
  const { op } = vertex.op;
  if (op.case !== 'scan') throw fail('invalid', 'llb', 'not a scan op');
  const { format } = op.value;
  const created = Number(op.value.created);
  const targets = op.value.targets.map(({ name, input }) => ({ name, input: Number(input) }));
  checkInputs(
    targets.map(({ input }) => input),
    vertex,
    'scan',
  );
  if (!formats.includes(format))
    throw fail('invalid', 'llb', `a scan has no format ${JSON.stringify(format)}`);
  const names = new Set(targets.map(({ name }) => name));
  if (names.size < targets.length || [...names].some((name) => !/^[\w][\w.-]*$/.test(name))) {
    throw fail(
      'invalid',
      'llb',
      'the trees of a scan need different names of letters, digits, ".", "_" and "-"',
    );
  }
  return {
    async cacheMap() {
      return {
        digest: digestOf(`scan ${scannerVersion} ${JSON.stringify([targets, format, created])}`),
        deps: vertex.inputs.map(() => ({})),
      };
    },
    async exec(inputs, ctx) {
      const { lease, signal, progress } = ctx;
      const specs = await Promise.all(
        targets.map(async ({ name, input }) => {
          const none: ViewSpec = { kind: 'empty' };
          return { name, spec: input < 0 ? none : await (inputs[input] as Ref).view(refContext(ctx)) };
        }),
      );
      const id = randomUUID();
      const key = `scan-active-${id}`;
      const target = specOfMounts(await store.snapshots.prepare(key, undefined, { lease }));
      try {
        const dir = target.kind === 'layers' ? target.dirs[0] : undefined;
        if (dir === undefined) throw fail('internal', 'store', `snapshot ${key} has no folder to write to`);
        const createdAt = created === 0 ? Date.now() : created * 1000;
        const { packages, problems } = await runTask(
          'sbom.scan',
          { targets: specs, format: format as SbomFormat, createdAt, version, dir },
          { signal },
        );
        progress.log(1, `${packages} package${packages === 1 ? '' : 's'}\n`);
        for (const short of problems)
          progress.warn({ level: 1, short: `not looked into: ${short}`, detail: [] });
        await store.snapshots.commit(`scan-${id}`, key, { lease });
      } catch (err) {
        await store.snapshots.remove(key).catch(() => {});
        throw await explainDisk(err, store);
      }
      return [refs.snapshot(`scan-${id}`)];
    },
  };
};

import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { toBinary } from '@bufbuild/protobuf';
import { image, marshal, merge, mkfile, type State, scratch } from '../../src/llb/llb.ts';
import { DefinitionSchema } from '../../src/pb/solver/pb/ops_pb.js';
import { fresh } from '../bench.ts';
import type { Scenario } from '../kit/compare.ts';
import { bigFile, changeBigFile, changeOneFile, manyFiles } from '../kit/contexts.ts';
import { solveWatched } from '../kit/control-api.ts';
import type { Sample } from '../kit/measure.ts';
import { cpuOf, residentOf } from '../kit/process.ts';
import { type Buildctl, dockerfile } from './buildctl.ts';

/** 1,000 vertices that make one tiny file each, brought together by eleven merges. */
function manyVertices(): Uint8Array {
  const nonce = randomUUID();
  const tens = Array.from({ length: 10 }, (_, ten) => {
    const files = Array.from({ length: 100 }, (_, i): State => {
      return scratch().file(mkfile(`/f${ten * 100 + i}`, nonce, { timestampNs: 0n }));
    });
    return merge(files);
  });
  return toBinary(DefinitionSchema, marshal(merge(tens)));
}

/** A step that says 2,000 lines while 100 clients follow it. */
async function watchedBy100({ daemon }: Buildctl, base: string): Promise<Sample> {
  const script = 'i=0; while [ $i -lt 2000 ]; do echo "line $i"; i=$((i+1)); done';
  const definition = marshal(image(base).run(`: ${randomUUID()}; ${script}`));
  const timed = async (work: () => Promise<void>): Promise<Sample> => {
    const before = cpuOf(daemon.servers);
    const started = performance.now();
    await work();
    const seconds = (performance.now() - started) / 1000;
    return { seconds, cpu: cpuOf(daemon.servers) - before, peak: residentOf(daemon.servers) };
  };
  const { measured, logged } = await solveWatched(daemon.socket, definition, {
    ref: randomUUID(),
    count: 100,
    timed,
  });
  const full = Math.max(...logged);
  if (full < 10_000 || logged.some((each) => each !== full)) {
    throw new Error(`${daemon.name}: not all of 100 clients got the whole log: ${logged.join(' ')}`);
  }
  return measured;
}

export function buildkitScenarios(folder: string, base: string): Scenario<Buildctl>[] {
  const many = manyFiles(folder, base);
  const big = bigFile(folder, base);
  // Only the file itself travels and is stored.
  writeFileSync(join(big, 'Dockerfile'), 'FROM scratch\nCOPY big.bin /big.bin\n');
  const toImage = '--output=type=image,name=localhost/bench:buildctl';
  let vertices = manyVertices();
  const out = join(folder, 'out');
  return [
    {
      name: '10 RUN + COPY of 5,000 files, cold, base image pulled',
      prepare: (buildctl) => buildctl.forget(),
      run: (buildctl) => buildctl.build([...dockerfile(many), toImage]),
    },
    {
      name: 'the same, all cached',
      prepare: () => {},
      run: (buildctl) => buildctl.build([...dockerfile(many), toImage]),
    },
    {
      name: 'the same, one file changed',
      prepare: () => changeOneFile(many),
      run: (buildctl) => buildctl.build([...dockerfile(many), toImage]),
    },
    {
      name: '1,000 tiny vertices, cold',
      prepare: () => {
        vertices = manyVertices();
      },
      run: (buildctl) => buildctl.build([], vertices),
    },
    {
      name: '1,000 tiny vertices, cached',
      prepare: (buildctl) => buildctl.build([], vertices).then(() => {}),
      run: (buildctl) => buildctl.build([], vertices),
    },
    {
      name: '100 clients follow a step of 2,000 lines',
      prepare: () => {},
      run: (buildctl) => watchedBy100(buildctl, base),
    },
    {
      name: '200 MB into the build',
      prepare: () => changeBigFile(big),
      run: (buildctl) => buildctl.build(dockerfile(big)),
    },
    {
      name: '200 MB out to the client',
      prepare: async (buildctl) => {
        await buildctl.build(dockerfile(big));
        fresh(out);
      },
      run: (buildctl) => buildctl.build([...dockerfile(big), `--output=type=local,dest=${out}`]),
    },
  ];
}

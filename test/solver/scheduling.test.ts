/** What runs when: once for equal work, side by side where it can, not at all where nobody wants it any more. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { DrydockError, fail } from '../../src/errors/error.ts';
import { Graphs, gate, inOrder, untilCanceled } from './graph.ts';

let g: Graphs;
beforeEach(async () => {
  g = new Graphs();
  await g.open();
});
afterEach(async () => {
  expect(await g.looseLeases()).toEqual([]);
  await g.remove();
});

test('independent vertices run at the same time', async () => {
  const both = [gate(), gate()];
  const parts = [0, 1].map((i) =>
    g.vertex(`part ${i}`, [], {
      does: async () => {
        both[i]!.open();
        await both[1 - i]!.passed;
        return '';
      },
    }),
  );
  await g.run(g.vertex('all', parts));
  expect(g.takeRan().at(-1)).toBe('all');
});

test('a vertex used twice runs once', async () => {
  const base = g.vertex('base');
  await g.run(g.vertex('all', [g.vertex('left', [base]), g.vertex('right', [base])]));
  expect(g.takeRan().filter((name) => name === 'base')).toEqual(['base']);
});

test('vertices found equal by content run once within a build', async () => {
  const build = g.build();
  const areBothAtIt = () => [1, 2].every((n) => build.last(`copy ${n}`)?.started !== undefined);
  const from = (n: number) => g.vertex(`fetch ${n}`, [], { does: async () => 'same' });
  const copy = (n: number) =>
    g.vertex(`copy ${n}`, [from(n)], {
      says: 'copy',
      deps: [{ content: [{ path: '/out' }] }],
      does: async (_, ctx) => {
        while (!areBothAtIt()) await new Promise((resolve) => setTimeout(resolve, 5));
        ctx.progress.log(1, 'copying\n');
        return 'copied';
      },
    });
  await g.run(g.vertex('all', [copy(1), copy(2)]), build);
  expect(g.takeRan().filter((name) => name.startsWith('copy'))).toHaveLength(1);
  // The one that waited shows the other's progress as its own.
  expect(build.logs).toHaveLength(2);
  expect(new Set(build.logs.map((log) => log.vertex)).size).toBe(2);
  expect(build.last('copy 1')).toMatchObject({ completed: expect.any(Number) });
  expect(build.last('copy 2')).toMatchObject({ completed: expect.any(Number) });
  expect(build.events.filter((event) => event.error !== undefined)).toEqual([]);
});

test('two running builds share a vertex; it goes on when one of them is cancelled', async () => {
  const [started, go] = [gate(), gate()];
  const graph = (name: string) =>
    g.vertex(name, [
      g.vertex('shared', [], {
        does: async (_, ctx) => {
          ctx.progress.log(1, 'at work\n');
          started.open();
          await Promise.race([go.passed, untilCanceled(ctx)]);
          return 'done';
        },
      }),
    ]);
  const [one, two] = [g.build(), g.build()];
  const first = g.run(graph('first'), one);
  await started.passed;
  const second = g.run(graph('second'), two);
  await Promise.resolve();
  // The one that came later is told what was said before.
  expect(two.logs.map((log) => String(log.data))).toEqual(['at work\n']);
  one.stop.abort();
  await expect(first).rejects.toMatchObject({ code: 'canceled' });
  expect(one.last('shared')).toMatchObject({ error: 'CANCELED' });
  go.open();
  await second;
  expect(g.takeRan()).toEqual(['shared', 'second']);
});

test('work is cancelled when the last build lets go, and a build ends only when it has stopped', async () => {
  const started = gate();
  let stopped = false;
  const graph = () =>
    g.vertex('endless', [], {
      does: async (_, ctx) => {
        started.open();
        await untilCanceled(ctx).catch(async (err) => {
          await new Promise((resolve) => setTimeout(resolve, 50));
          stopped = true;
          throw err;
        });
        return '';
      },
    });
  const [one, two] = [g.build(), g.build()];
  const runs = [g.run(graph(), one), g.run(graph(), two)];
  await started.passed;
  one.stop.abort();
  await expect(runs[0]).rejects.toMatchObject({ code: 'canceled' });
  expect(stopped).toBe(false);
  two.stop.abort();
  await expect(runs[1]).rejects.toMatchObject({ code: 'canceled' });
  expect(stopped).toBe(true);
  expect(two.last('endless')).toMatchObject({ error: 'CANCELED' });
});

test('a build that waits for another one’s equal work keeps that alive', async () => {
  const [started, go] = [gate(), gate()];
  const graph = (fetch: string) =>
    g.vertex('copy', [g.vertex(fetch, [], { does: async () => 'same' })], {
      deps: [{ content: [{ path: '/out' }] }],
      does: async (_, ctx) => {
        started.open();
        await Promise.race([go.passed, untilCanceled(ctx)]);
        return `copied from ${fetch}`;
      },
    });
  const [one, two] = [g.build(), g.build()];
  const first = g.run(graph('fetch 1'), one);
  await started.passed;
  const second = g.solve(graph('fetch 2'), two);
  while (two.last('copy')?.started === undefined) await new Promise((resolve) => setTimeout(resolve, 5));
  one.stop.abort();
  await expect(first).rejects.toMatchObject({ code: 'canceled' });
  go.open();
  expect(await second).toBe('copied from fetch 1');
  await g.solver.release(two.job);
  expect(g.takeRan().filter((name) => name === 'copy')).toEqual(['copy']);
});

test('a failure stops everything else at once, even what is waited for in order to name things', async () => {
  let stopped = false;
  const slow = g.vertex('slow', [], {
    does: async (_, ctx) => {
      await untilCanceled(ctx).catch((err) => {
        stopped = true;
        throw err;
      });
      return '';
    },
  });
  const broken = g.vertex('broken', [], {
    does: async () => {
      await new Promise((resolve) => setTimeout(resolve, 30));
      throw fail('failed', 'exec', 'it broke', { exitCode: 3 });
    },
  });
  const build = g.build();
  const target = g.vertex('all', [slow, broken], { deps: [{ content: [{ path: '/out' }] }, {}] });
  await expect(g.run(target, build)).rejects.toMatchObject({
    message: 'it broke',
    step: 'broken',
    exitCode: 3,
  });
  expect(stopped).toBe(true);
  expect(build.last('broken')).toMatchObject({ error: 'it broke' });
  expect(build.last('slow')).toMatchObject({ error: 'CANCELED' });
  expect(build.last('all')?.started).toBeUndefined();
});

test('a failure is not remembered: the next build tries again', async () => {
  let broken = true;
  const graph = () =>
    g.vertex('flaky', [], {
      does: async () => {
        if (broken) throw fail('unavailable', 'http', 'down');
        return 'up';
      },
    });
  await expect(g.run(graph())).rejects.toThrow('down');
  broken = false;
  await g.run(graph());
  expect(g.takeRan()).toEqual(['flaky', 'flaky']);
});

test('a failed solve leaves the build’s other solves alone', async () => {
  const [started, go] = [gate(), gate()];
  const build = g.build();
  const good = g.solve(
    g.vertex('good', [], {
      does: async (_, ctx) => {
        started.open();
        await Promise.race([go.passed, untilCanceled(ctx)]);
        return 'fine';
      },
    }),
    build,
  );
  await started.passed;
  const bad = g.vertex('bad', [], {
    does: async () => {
      throw new Error('oops');
    },
  });
  await expect(g.solve(bad, build)).rejects.toMatchObject({ code: 'internal', hop: 'solver', step: 'bad' });
  go.open();
  expect(await good).toBe('fine');
  await g.solver.release(build.job);
});

test('an output that is not there, and an op that cannot be made, fail the solve', async () => {
  const none = g.vertex('all', [{ vertex: g.vertex('fine'), index: 7 }]);
  await expect(g.run(none)).rejects.toMatchObject({ code: 'invalid', message: 'fine has no output 7' });
  const unknown = g.vertex('odd', [g.vertex('fine')], {
    make: () => {
      throw fail('unsupported', 'llb', 'no such op');
    },
  });
  await expect(g.run(unknown)).rejects.toMatchObject({ code: 'unsupported', step: 'odd' });
});

test('one client’s folder is never taken for another’s, though their builds run at once', async () => {
  const both = [gate(), gate()];
  const graph = (i: number) =>
    g.vertex(
      'copy',
      [
        g.vertex('context', [], {
          source: 'local://context',
          volatile: true,
          does: async (_, ctx) => {
            both[i]!.open();
            await both[1 - i]!.passed;
            return `files of ${(await ctx.session.secret('who'))?.toString()}`;
          },
        }),
      ],
      { deps: [{ content: [{ path: '/out' }] }], does: async ([ref]) => g.read(ref) },
    );
  const builds = ['ann', 'bob'].map((who) => g.build({ secret: async () => Buffer.from(who) }));
  const texts = await Promise.all(builds.map((build, i) => g.solve(graph(i), build)));
  expect(texts).toEqual(['files of ann', 'files of bob']);
  for (const build of builds) await g.solver.release(build.job);
});

test('a build with --no-cache does not join the running work of one without', async () => {
  const [started, go] = [gate(), gate()];
  const graph = (ignoreCache: boolean) =>
    g.vertex('make', [], {
      ignoreCache,
      does: async () => {
        started.open();
        await go.passed;
        return '';
      },
    });
  const first = g.run(graph(false));
  await started.passed;
  const second = g.run(graph(true));
  await new Promise((resolve) => setTimeout(resolve, 20));
  go.open();
  await Promise.all([first, second]);
  expect(g.takeRan()).toEqual(['make', 'make']);
});

test('an op cleans up once its build is released', async () => {
  const done: string[] = [];
  const build = g.build();
  await g.solve(
    g.vertex('make', [], {
      does: async (_, ctx) => {
        ctx.onRelease?.(() => void done.push('cleaned'));
        return '';
      },
    }),
    build,
  );
  expect(done).toEqual([]);
  await g.solver.release(build.job);
  expect(done).toEqual(['cleaned']);
});

test('a graph nested in an op is part of the build: shown in it, stopped with it, released with it', async () => {
  const started = gate();
  const inner = g.vertex('inner', [], {
    does: async (_, ctx) => {
      started.open();
      return untilCanceled(ctx);
    },
  });
  const outer = g.vertex('outer', [], {
    does: async (_, ctx) =>
      g.solver.solve(g.solver.jobOf(ctx), inOrder([inner]), [{ vertex: inner, index: 0 }]),
  });
  const build = g.build();
  const run = g.run(outer, build);
  await started.passed;
  expect(build.last('inner')).toMatchObject({ started: expect.any(Number) });
  build.stop.abort();
  await expect(run).rejects.toBeInstanceOf(DrydockError);
});

test('a chain of 12,000 vertices and a fan of 3,000 are solved without recursion', async () => {
  let chain = g.vertex('v0', [], { does: async () => [g.refs.empty()] });
  const does = async () => [g.refs.empty()];
  for (let i = 1; i < 12_000; i++) {
    chain = g.vertex(`v${i}`, [chain], { does, digest: `v${i}` });
  }
  const leaves = Array.from({ length: 3_000 }, (_, i) => g.vertex(`l${i}`, [], { does, digest: `l${i}` }));
  const target = g.vertex('top', [chain, ...leaves], { does });
  await g.run(target);
  expect(g.takeRan()).toHaveLength(15_001);
});

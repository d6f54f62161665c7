import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

// Code that Node has compiled once serves each process and thread of all runs. Tests' processes inherit the variable.
process.env.NODE_COMPILE_CACHE ??= join(import.meta.dirname, '.cache/compiled');

/** Attacks whose end is the same however busy the machine is. */
const calm =
  'buildkitd|files-on-disk|mount-race|other-identity|output-folder|output-race|raw-packets|' +
  'registry-credentials|same-session-id|scopes|system-calls';

/** Files that measure or count what their process has or does, or that may bring it down: they have the cores. */
const alone = [
  'test/api/docker/requests.test.ts',
  `test/attack/!(${calm}).test.ts`,
  'test/crash/**/*.test.ts',
  'test/daemon/rest.test.ts',
  'test/executor/kill.test.ts',
  'test/linux/memory.test.ts',
  'test/llb/paths.test.ts',
  'test/workers/**/*.test.ts',
];

export default defineConfig({
  test: {
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 100_000 } },
    pool: 'forks',
    // A third of a test file's imports' work is not needed for a single run.
    execArgv: ['--require', join(import.meta.dirname, 'test/kit/quick-imports.cjs')],
    maxWorkers: 2,
    // Node runs TypeScript by itself. Vite would transform each module, and load it through its server.
    experimental: { viteModuleRunner: false, nodeLoader: false },
    projects: [
      { extends: true, test: { name: 'alone', include: alone } },
      // Tests wait for others, so more of them run at once than CI has cores. Each file has a process of its own: what one
      // leaves in it, such as a variable, would be another's fault.
      {
        extends: true,
        test: {
          name: 'beside',
          include: ['test/**/*.test.ts'],
          exclude: alone,
          maxWorkers: 5,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});

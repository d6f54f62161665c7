/**
 * Loaded first in each process of a test (vitest.config.ts), as a file of the daemon's takes a thousand modules along.
 * Finds the modules of this clone without asking the disk what kind they are, and keeps vitest from sending each import
 * to its main process, which needs them only to run files again when one changes.
 */
const nodeModule = require('node:module');

const { registerHooks } = nodeModule;
const clone = new URL('../../', `file://${__filename}`).href;
const formats = { '.ts': 'module-typescript', '.js': 'module' };
/** What the packages' names mean to the files of this clone. */
const packages = new Map();

/** Whether a file is the clone's own, and not a package's. */
const isOwn = (url) => url?.startsWith(clone) && !url.startsWith('node_modules/', clone.length);

registerHooks({
  resolve(specifier, context, next) {
    if (!isOwn(context.parentURL) || !context.conditions.includes('import')) return next(specifier, context);
    if (specifier.startsWith('.')) {
      const format = formats[specifier.slice(-3)];
      if (format === undefined) return next(specifier, context);
      return { url: new URL(specifier, context.parentURL).href, format, shortCircuit: true };
    }
    let found = packages.get(specifier);
    if (found === undefined) {
      found = { ...next(specifier, context), shortCircuit: true };
      packages.set(specifier, found);
    }
    return found;
  },
});

// Vitest's own hook is for its test files alone, whose names have a mark in them.
nodeModule.registerHooks = (hooks) =>
  registerHooks({
    ...hooks,
    resolve: (specifier, context, next) =>
      /%3Fvitest=|mock=actual/.test(specifier)
        ? hooks.resolve(specifier, context, next)
        : next(specifier, context),
  });

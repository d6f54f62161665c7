import { fail } from '../../errors/index.ts';
import { familiarName, normalizeName } from '../../oci/index.ts';
import { dockerConfigCredentials } from '../../session/index.ts';
import { template } from '../../templates/index.ts';
import { refuseBuilder } from '../build/refused-flags.ts';
import { command } from '../command.ts';
import type { FlagTable } from '../flags.ts';
import { registryClient } from '../registry-client.ts';

const createFlags = {
  annotation: {
    type: 'list',
    value: 'TYPE:KEY=VALUE',
    help: 'create: annotate the index (index:…) or its entries (manifest-descriptor[OS/ARCH]:…)',
  },
  append: { type: 'bool', help: 'create: add to what the tag names now' },
  'dry-run': { type: 'bool', help: 'create: print what would be pushed' },
  file: {
    type: 'list',
    short: 'f',
    value: 'FILE',
    help: 'create: a file with a source: its descriptor as JSON',
  },
  'metadata-file': { type: 'string', value: 'FILE', help: 'create: write the result as JSON to a file' },
  platform: { type: 'list', short: 'p', value: 'OS/ARCH', help: 'create: only images of these platforms' },
  'prefer-index': {
    type: 'bool',
    help: 'create: an index of a single manifest, too (default; =false: the manifest)',
  },
  progress: { type: 'string', value: 'MODE', help: 'create: auto, tty, plain, rawjson, quiet or none' },
  tag: {
    type: 'list',
    short: 't',
    value: 'NAME',
    help: 'create: the name of the new image; may be given several times',
  },
} as const satisfies FlagTable;

const inspectFlags = {
  format: {
    type: 'string',
    value: 'TEMPLATE',
    help: "inspect: a template: '{{json .Manifest}}', '{{json .Image}}', '{{json .Provenance}}', '{{json .SBOM}}'",
  },
  raw: { type: 'bool', help: 'inspect: the manifest as the registry has it' },
} as const satisfies FlagTable;

export default command({
  usage: 'create [SOURCE…] | inspect NAME',
  summary: `Make an image of images that registries have, or show what a registry has. Layers stay where they are, or go from one
repository to another without being kept here. A SOURCE is a name, a digest, or a descriptor as JSON.`,
  flags: { ...createFlags, ...inspectFlags, builder: { type: 'string', help: '', hidden: true } },
  operands: [1, Infinity],
  async run(flags, [action, ...operands], ctx) {
    refuseBuilder(flags.builder);
    if (action !== 'create' && action !== 'inspect') {
      throw fail('invalid', 'client', `unknown: drydock imagetools ${action}`, {
        hint: 'Say `drydock imagetools create` or `drydock imagetools inspect`.',
      });
    }
    const foreign = Object.keys(action === 'create' ? inspectFlags : createFlags).find((name) => {
      const value = flags[name as keyof typeof flags];
      return Array.isArray(value) ? value.length > 0 : value !== undefined;
    });
    if (foreign !== undefined)
      throw fail('invalid', 'client', `--${foreign} is no flag of imagetools ${action}`);
    const client = registryClient(ctx);
    try {
      if (action === 'create') {
        const { createImage } = await import('../imagetools/create.ts');
        await createImage(flags, operands, client, ctx);
        return 0;
      }
      const [name, ...more] = operands;
      if (name === undefined || more.length > 0) {
        throw fail('invalid', 'client', `imagetools inspect takes one name, not ${operands.length}`);
      }
      const { format, raw } = flags;
      if (raw && format !== undefined)
        throw fail('invalid', 'client', '--raw and --format exclude each other');
      // A template that cannot be is told of before the registry is asked.
      if (format !== undefined) template(format);
      const [{ imageFacts }, { factsAs, factsText, isPlain }] = await Promise.all([
        import('../../imagetools/facts.ts'),
        import('../imagetools/describe.ts'),
      ]);
      const details = format !== undefined && !isPlain(format);
      const credentials = dockerConfigCredentials(ctx.env);
      const reference = normalizeName(name);
      const facts = await imageFacts(client, reference, details, { credentials, signal: ctx.signal });
      if (raw) ctx.stdout.write(facts.bytes);
      else if (format === undefined) ctx.stdout.write(factsText(reference, facts));
      else ctx.stdout.write(factsAs(format, familiarName(reference), facts));
      return 0;
    } finally {
      client.close();
    }
  },
});

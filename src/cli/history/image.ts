/** `drydock history IMAGE`: the steps that made an image, as docker shows them. */
import { namedHistory } from '../../images/index.ts';
import { parsePlatform } from '../../oci/index.ts';
import type { CommandContext } from '../command.ts';
import { type FormatRow, formatRows } from '../format.ts';
import { ago, formatBytes, table } from '../units.ts';

/** A step; the newest comes first. */
interface Step {
  id: string;
  /** ms since the epoch; undefined when the image does not tell. */
  created: number | undefined;
  createdBy: string;
  size: number;
  comment: string;
}

interface ImageHistoryFlags {
  format?: string;
  platform?: string;
  quiet?: boolean;
  'no-trunc'?: boolean;
}

const fields = ['ID', 'CreatedSince', 'CreatedAt', 'CreatedBy', 'Size', 'Comment'];

/** Docker's headings where they are not the field's name. */
const headings = { ID: 'IMAGE', CreatedSince: 'CREATED' };

/** The text that the command prints. Throws `not-found`, and `invalid` for a format or a platform that is none. */
export async function imageHistoryText(
  name: string,
  flags: ImageHistoryFlags,
  ctx: CommandContext,
): Promise<string> {
  const steps = await stepsOf(name, flags.platform, ctx);
  const whole = flags['no-trunc'] === true;
  const id = (text: string) => (whole ? text : text.replace(/^sha256:(\w{12})\w*$/, '$1'));
  if (flags.quiet) return steps.map((step) => `${id(step.id)}\n`).join('');
  const rows = steps.map((step): FormatRow => {
    const by = step.createdBy.replace(/\s+/g, ' ');
    return {
      ID: id(step.id),
      CreatedSince: step.created === undefined ? 'N/A' : ago(step.created),
      CreatedAt:
        step.created === undefined ? '' : new Date(step.created).toISOString().replace(/\.\d+Z$/, 'Z'),
      CreatedBy: whole || by.length <= 45 ? by : `${by.slice(0, 44)}…`,
      Size: formatBytes(step.size),
      Comment: step.comment,
    };
  });
  if (flags.format !== undefined) return formatRows(flags.format, rows, fields, headings);
  return table([
    ['IMAGE', 'CREATED', 'CREATED BY', 'SIZE', 'COMMENT'],
    ...rows.map((row) => ['ID', 'CreatedSince', 'CreatedBy', 'Size', 'Comment'].map((key) => row[key] ?? '')),
  ]);
}

async function stepsOf(name: string, platform: string | undefined, ctx: CommandContext): Promise<Step[]> {
  const wanted = platform === undefined ? undefined : parsePlatform(platform);
  const remote = await ctx.remote();
  if (remote !== undefined) {
    const { remoteHistory } = await import('../remote/images.ts');
    return remoteHistory(remote, name, wanted);
  }
  const { store } = await ctx.engine();
  const { id, steps } = await namedHistory(store, name, wanted);
  return steps.map(({ created, createdBy, size, comment }, i) => ({
    id: i === 0 ? id : '<missing>',
    created,
    createdBy,
    size,
    comment,
  }));
}

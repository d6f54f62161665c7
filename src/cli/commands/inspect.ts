import { fail } from '../../errors/index.ts';
import { imageStatements, inspectImage, inspectPlatform } from '../../images/index.ts';
import { type Platform, parsePlatform } from '../../oci/index.ts';
import { command } from '../command.ts';
import { inspectFormat } from '../inspect-format.ts';

export default command({
  usage: 'IMAGE [IMAGE…]',
  summary: "Show images' details as a JSON array, in docker inspect's shape.",
  flags: {
    attestations: {
      type: 'bool',
      help: 'Show what is stated of the images instead: provenances, bills of materials …',
    },
    format: {
      type: 'string',
      short: 'f',
      value: 'TEMPLATE',
      help: "json, or a template: '{{.Id}}', '{{json .Config.Labels}}', '{{range .RepoTags}}{{println .}}{{end}}'",
    },
    type: { type: 'string', value: 'TYPE', help: '', hidden: true },
    platform: { type: 'string', value: 'OS/ARCH', help: 'Of this platform; default: the one that runs here' },
  },
  operands: [1, Infinity],
  async run({ attestations, platform, format, type }, args, ctx) {
    if (type !== undefined && type !== 'image') {
      throw fail('unsupported', 'client', `--type ${type} is not supported: there are images only`, {
        hint: 'Leave the flag out.',
      });
    }
    const shown = format === undefined ? undefined : inspectFormat(format);
    const wanted = platform === undefined ? undefined : parsePlatform(platform);
    const remote = await ctx.remote();
    const found: object[] = [];
    if (remote !== undefined) {
      const { remoteInspect, remoteStatements } = await import('../remote/images.ts');
      for (const arg of args) {
        if (attestations) found.push(...(await remoteStatements(remote, arg, platform)));
        else found.push(await remoteInspect(remote, arg, platform));
      }
    } else {
      const { store } = await ctx.engine();
      for (const arg of args) {
        if (attestations) found.push(...(await statements(store, arg, wanted)));
        else found.push(await (wanted ? inspectPlatform(store, arg, wanted) : inspectImage(store, arg)));
      }
    }
    ctx.stdout.write(shown === undefined ? `${JSON.stringify(found, null, 2)}\n` : found.map(shown).join(''));
    return 0;
  },
});

/** The statements about an image, in the form of docker's API. */
async function statements(
  store: Parameters<typeof imageStatements>[0],
  name: string,
  platform: Platform | undefined,
): Promise<object[]> {
  const all = await imageStatements(store, name, { platform });
  return Promise.all(
    all.map(async ({ descriptor, predicateType, read }) => ({
      Descriptor: descriptor,
      PredicateType: predicateType,
      Statement: JSON.parse((await read()).toString()),
    })),
  );
}

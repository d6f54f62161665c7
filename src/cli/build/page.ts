/** `drydock build --ui`: the page of the build, while it runs and until its user has seen enough of it. */
import type { RecordBuild } from '../../api/index.ts';
import type { Engine } from '../../engine/index.ts';
import { fail } from '../../errors/index.ts';
import type { CommandContext } from '../command.ts';
import type { Endpoint } from '../remote/endpoint.ts';
import type { BuildFlags } from './prepare.ts';

interface PageOfBuild {
  /** Begins the record that the page shows; undefined where a daemon has its own. */
  record: RecordBuild | undefined;
  /** Whether somebody looks at it. */
  readonly isOpened: boolean;
  /** Waits, once the build is over, until the command is told to stop; at once when nobody has opened the page. */
  seen(): Promise<void>;
  close(): void;
}

/** Opens the page that `--ui` asks for; undefined without it. Throws `unsupported` for flags that it cannot go with. */
export async function pageOf(
  flags: Pick<BuildFlags, 'ui' | 'check' | 'verify-reproducible'>,
  place: Engine | Endpoint,
  ctx: CommandContext,
): Promise<PageOfBuild | undefined> {
  if (!flags.ui) return undefined;
  for (const name of ['check', 'verify-reproducible'] as const) {
    if (!flags[name]) continue;
    throw fail('unsupported', 'client', `--ui does not go with --${name}: the page shows one build`, {
      hint: 'Leave one of them out.',
    });
  }
  const { showLink, openLink } = await import('../ui/link-server.ts');
  let record: RecordBuild | undefined;
  let server: Awaited<ReturnType<typeof openLink>>;
  if ('store' in place) {
    const { openBuildPage } = await import('../ui/build-page.ts');
    const page = await openBuildPage(place.store.runDir, undefined);
    record = page.record;
    server = page;
  } else {
    const { answerFrom } = await import('../ui/daemon-page.ts');
    server = await openLink({ at: '#/builds?state=running', answer: answerFrom(place) });
  }
  ctx.stderr.write(`The build's page (the link works once): ${server.link}\n`);
  const forget = showLink(server.link, ctx.env);
  return {
    record,
    get isOpened() {
      return server.opened;
    },
    async seen() {
      if (!server.opened || ctx.signal.aborted) return;
      ctx.stderr.write('The page stays open; Ctrl-C ends it.\n');
      await new Promise<void>((resolve) =>
        ctx.signal.addEventListener('abort', () => resolve(), { once: true }),
      );
    },
    close() {
      forget();
      server.close();
    },
  };
}

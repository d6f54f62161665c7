/** `drydock build --ui` and `bake --ui`: the page of the builds, while they run and until their user has seen enough. */
import { randomUUID } from 'node:crypto';
import type { Engine } from '../../engine/index.ts';
import { fail } from '../../errors/index.ts';
import type { RecordBuild } from '../../records/index.ts';
import type { CommandContext } from '../command.ts';
import type { Endpoint } from '../remote/endpoint.ts';

/** The page, as the builds of this process are shown by it. */
export interface OwnPage {
  /** Begins the record that the page shows. */
  record: RecordBuild;
  /** Is told by a build how it is cancelled from the page. */
  runs(ref: string, cancel: () => void): void;
}

interface PageOfBuild {
  /** Set where no daemon has the builds. */
  own?: OwnPage;
  /** The references of the builds, in their order. */
  refs: readonly string[];
  /** Whether somebody looks at it. */
  readonly isOpened: boolean;
  /** Waits, once the build is over, until the command is told to stop; at once when nobody has opened the page. */
  seen(): Promise<void>;
  close(): Promise<void>;
}

/** Opens the page that `--ui` asks for, of so many builds. */
export async function openPage(
  place: Engine | Endpoint,
  ctx: Pick<CommandContext, 'env' | 'signal' | 'stderr'>,
  builds = 1,
): Promise<PageOfBuild> {
  const { showLink, openLink } = await import('../ui/link-server.ts');
  const refs = Array.from({ length: builds }, () => randomUUID());
  // A build is there once it has begun; the list leads to it then.
  const at = builds === 1 ? `#/builds?open=${refs[0]}` : `#/builds?only=${refs.join('.')}`;
  let own: OwnPage | undefined;
  let server: Awaited<ReturnType<typeof openLink>>;
  if ('store' in place) {
    const { openBuildPage } = await import('../ui/build-page.ts');
    const page = await openBuildPage(place.store, { at });
    own = page;
    server = page;
  } else {
    const { answerFrom } = await import('../ui/daemon-page.ts');
    server = await openLink({ at, answer: answerFrom(place) });
  }
  ctx.stderr.write(
    `The ${builds === 1 ? "build's" : "builds'"} page (the link works once): ${server.link}\n`,
  );
  const forget = showLink(server.link, ctx.env);
  return {
    own,
    refs,
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
    async close() {
      forget();
      await server.close();
    },
  };
}

/** Refuses flags that the page cannot go with. Throws `unsupported`. */
export function refuseUiWith(flags: Readonly<Record<string, unknown>>, names: readonly string[]): void {
  for (const name of names) {
    if (!flags[name] || flags[name] === 'build') continue;
    throw fail('unsupported', 'client', `--ui does not go with --${name}: the page shows builds`, {
      hint: 'Leave one of them out.',
    });
  }
}

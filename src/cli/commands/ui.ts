import { type CommandContext, command } from '../command.ts';
import type { RemoteCall } from '../remote/images.ts';
import type { LinkServer } from '../ui/link-server.ts';

export default command({
  usage: '',
  summary: `Open the web page of a daemon: its builds, live and past. Without a daemon: the builds of this root. Browsers cannot speak to a unix socket, so the command listens
on loopback until it is stopped, and lets in who follows the link that it prints, once.`,
  flags: {
    open: { type: 'bool', help: 'Have the browser follow the link, where there is a screen (default true)' },
    port: { type: 'string', value: 'N', help: 'Listen at 127.0.0.1 and this port, as for a tunnel' },
  },
  operands: [0, 0],
  async run(flags, _args, ctx) {
    const [{ showLink }, { portIn }] = await Promise.all([
      import('../ui/link-server.ts'),
      import('../ui/port.ts'),
    ]);
    const port = portIn(flags.port);
    const remote = await ctx.remote();
    const server = await (remote === undefined ? pageHere(ctx, port) : pageAt(remote, port));
    ctx.stdout.write(`${server.link}\n`);
    ctx.stderr.write('The link works once. Ctrl-C ends the page.\n');
    const forget = flags.open !== false ? showLink(server.link, ctx.env) : () => {};
    await new Promise<void>((resolve) => {
      if (ctx.signal.aborted) resolve();
      ctx.signal.addEventListener('abort', () => resolve(), { once: true });
    });
    forget();
    await server.close();
    return 0;
  },
});

/** The page of a daemon. */
async function pageAt({ endpoint, signal }: RemoteCall, port: number | undefined): Promise<LinkServer> {
  const [{ answerFrom }, { openLink }, { askJson }] = await Promise.all([
    import('../ui/daemon-page.ts'),
    import('../ui/link-server.ts'),
    import('../remote/endpoint.ts'),
  ]);
  // Whether it is there, and has the page, is told here rather than in the browser.
  await askJson(endpoint, { method: 'GET', path: '/ui/api/v1/me', signal });
  return openLink({ port, answer: answerFrom(endpoint) });
}

/** The page of the builds that the root here has. */
async function pageHere(ctx: CommandContext, port: number | undefined): Promise<LinkServer> {
  const [{ store }, { openBuildPage }] = await Promise.all([ctx.engine(), import('../ui/build-page.ts')]);
  return openBuildPage(store, { at: '#/builds', port });
}

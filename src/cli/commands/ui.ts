import { fail } from '../../errors/index.ts';
import { command } from '../command.ts';

export default command({
  usage: '',
  summary: `Open the web page of a daemon: its builds, live and past. Browsers cannot speak to a unix socket, so the command listens
on loopback until it is stopped, and lets in who follows the link that it prints, once.`,
  flags: {
    open: { type: 'bool', help: 'Have the browser follow the link, where there is a screen (default true)' },
    port: { type: 'string', value: 'N', help: 'Listen at 127.0.0.1 and this port, as for a tunnel' },
  },
  operands: [0, 0],
  async run(flags, _args, ctx) {
    const remote = await ctx.remote();
    if (remote === undefined) {
      throw fail('invalid', 'client', 'drydock ui shows the builds of a daemon, and none is named', {
        hint: 'Name it: `drydock --host unix:///path ui`, or DRYDOCK_HOST. One build without a daemon: `drydock build --ui`.',
      });
    }
    const [{ answerFrom }, { openLink, showLink }, { portIn }, { askJson }] = await Promise.all([
      import('../ui/daemon-page.ts'),
      import('../ui/link-server.ts'),
      import('../ui/port.ts'),
      import('../remote/endpoint.ts'),
    ]);
    // Whether it is there, and has the page, is told here rather than in the browser.
    await askJson(remote.endpoint, { method: 'GET', path: '/ui/api/v1/me', signal: ctx.signal });
    const server = await openLink({ port: portIn(flags.port), answer: answerFrom(remote.endpoint) });
    ctx.stdout.write(`${server.link}\n`);
    ctx.stderr.write('The link works once. Ctrl-C ends the page.\n');
    const forget = flags.open !== false ? showLink(server.link, ctx.env) : () => {};
    await new Promise<void>((resolve) => {
      if (ctx.signal.aborted) resolve();
      ctx.signal.addEventListener('abort', () => resolve(), { once: true });
    });
    forget();
    server.close();
    return 0;
  },
});

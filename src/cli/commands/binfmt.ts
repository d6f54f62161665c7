import {
  Emulation,
  machinesNamed,
  register,
  type Support,
  unregister,
  whyNot,
} from '../../emulation/index.ts';
import { fail } from '../../errors/index.ts';
import { formatPlatform } from '../../oci/index.ts';
import { type CommandContext, command } from '../command.ts';

export default command({
  usage: '[install [ARCH…] | uninstall [ARCH…]]',
  summary: `Show which platforms' programs run on this machine, and by what. \`install\` registers QEMU's emulators (Debian:
qemu-user-static) for other processors with the kernel, so that they work in every container; \`uninstall\` removes
them. Both are about all processors unless some are named, need root, and hold until the machine is started anew.`,
  flags: {},
  operands: [0, Infinity],
  async run(_flags, [action = 'list', ...names], ctx) {
    if ((await ctx.remote()) !== undefined) {
      throw fail('unsupported', 'client', '`drydock binfmt` is about the machine that it runs on', {
        hint: 'Run it where the daemon runs, without --host (DRYDOCK_HOST); `drydock --host … doctor` lists the platforms.',
      });
    }
    const emulation = new Emulation();
    if (action === 'list' && names.length === 0) {
      list(ctx, await emulation.support());
      return 0;
    }
    const chosen = machinesNamed(names);
    if (action === 'uninstall') {
      const removed = unregister(chosen);
      for (const { qemu } of removed) ctx.stdout.write(`removed qemu-${qemu}\n`);
      if (removed.length === 0) ctx.stdout.write('none was registered\n');
      return 0;
    }
    if (action !== 'install') {
      throw fail('invalid', 'client', `unknown action ${JSON.stringify(action)}`, {
        hint: 'Say `drydock binfmt`, `drydock binfmt install [ARCH…]` or `drydock binfmt uninstall [ARCH…]`.',
      });
    }
    const wanted = (support: readonly Support[]) => support.filter(({ machine }) => chosen.includes(machine));
    const done = register(wanted(await emulation.support()));
    const now = wanted(await emulation.support({ afresh: true }));
    list(ctx, now);
    const without = done.filter(({ done: what }) => what === 'none').map(({ machine }) => machine);
    const broken = now.filter(({ machine, runs }) => !runs && !without.includes(machine));
    // Who names a processor wants that one; who names none wants those that there are emulators for.
    return broken.length > 0 || (names.length > 0 && without.length > 0) ? 1 : 0;
  },
});

function list(ctx: CommandContext, support: readonly Support[]): void {
  const line = (platforms: string, runs: string, by: string) =>
    ctx.stdout.write(`${platforms.padEnd(52)} ${runs.padEnd(4)} ${by}\n`);
  line('PLATFORMS', 'RUN', 'BY');
  for (const { platforms, runs, handler } of support) {
    const by =
      handler === undefined
        ? 'this machine itself'
        : `${handler.name}: ${handler.interpreter}, flags ${handler.flags}`;
    line(platforms.map(formatPlatform).join(' '), runs ? 'yes' : 'no', runs ? by : whyNot(handler));
  }
}

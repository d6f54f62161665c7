/** Users whom /etc/passwd does not know and whom nobody gave a home, as containers and services have them. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { OrdinaryUser } from '../kit/ordinary-user.ts';

let user: OrdinaryUser;
beforeAll(() => {
  user = new OrdinaryUser();
});
afterAll(() => user.close());

test('the command works for them; a folder that cannot be made is told with its hint', async () => {
  const drydock = async (line: string) => {
    const { code, stdout, stderr } = await user.sh(`unset DRYDOCK_DEBUG; ${line}`, {
      cwd: '/',
      before: 'mount --bind /dev/null /etc/passwd',
    });
    return { code, said: stdout + stderr };
  };
  const { command } = user;
  expect(await drydock(`unset HOME; ${command} version`)).toEqual({
    code: 0,
    said: expect.stringMatching(/^drydock \d/),
  });
  const none = await drydock(`unset HOME; ${command} history ls`);
  expect(none.said).toContain('the folder /.local/share/drydock cannot be made (EACCES)');
  expect(none.said).toContain('--root');
  expect(none.said).not.toMatch(/^ {4}at /m);
  // The specification of these variables knows no relative folders.
  const relative = await drydock(
    `HOME=/nowhere XDG_DATA_HOME=relative XDG_CACHE_HOME=relative ${command} history ls`,
  );
  expect(relative.said).toContain('the folder /nowhere/.local/share/drydock cannot be made');
});

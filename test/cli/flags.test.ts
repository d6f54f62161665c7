import { expect, test } from 'vitest';
import { buildFlags } from '../../src/cli/build/flags.ts';
import { flagHelp, parseFlags } from '../../src/cli/flags.ts';
import { globalFlags } from '../../src/cli/globals.ts';

const parse = (...argv: string[]) => parseFlags(argv, buildFlags);

test('flags stand before, after and between operands, long or short, with = or a space', () => {
  const { flags, args } = parse('-t', 'a', '.', '--tag=b', '-f', 'D', '--target', 'x');
  expect(args).toEqual(['.']);
  expect(flags.tag).toEqual(['a', 'b']);
  expect(flags.file).toBe('D');
  expect(flags.target).toBe('x');
});

test('a switch takes =true and =false, and is undefined when not given', () => {
  expect(parse('--no-cache').flags['no-cache']).toBe(true);
  expect(parse('--no-cache=false', '.').flags['no-cache']).toBe(false);
  expect(parse('.').flags['no-cache']).toBeUndefined();
  expect(() => parse('--no-cache=maybe')).toThrow('want true or false');
});

test('- is an operand and a value', () => {
  expect(parse('-f', '-', '-').args).toEqual(['-']);
  expect(parse('-f', '-', '.').flags.file).toBe('-');
  expect(parse('-o', '-', '.').flags.output).toEqual(['-']);
  expect(parse('-qf', 'D', '-').flags).toMatchObject({ quiet: true, file: 'D' });
});

test('after -- everything is an operand', () => {
  expect(parse('-q', '--', '--tag').args).toEqual(['--tag']);
});

test('mistakes are named with what was probably meant', () => {
  expect(() => parse('--tagg', 'x')).toThrow(
    expect.objectContaining({ message: 'unknown flag: --tagg', hint: 'Did you mean --tag?' }),
  );
  expect(() => parse('.', '-t')).toThrow('flag needs an argument: -t');
  // Every object has members of these names.
  expect(() => parse('--constructor=1')).toThrow('unknown flag: --constructor');
  expect(() => parse('--toString', '-t', 'x')).toThrow('unknown flag: --toString');
});

test('the help lists every flag but those that only scripts pass', () => {
  const help = flagHelp(buildFlags);
  expect(help).toContain('-t, --tag NAME');
  expect(help).toContain('    --build-arg NAME[=VALUE]');
  expect(help).not.toContain('--force-rm');
});

test('--debug and -D may follow the command, but not among the words of another program', () => {
  const read = (...argv: string[]) => {
    const { debug, rest } = globalFlags(argv, {});
    return [debug, rest.join(' ')];
  };
  expect(read('-D', 'build', '.')).toEqual([true, 'build .']);
  expect(read('build', '-D', '.')).toEqual([true, 'build .']);
  expect(read('images', '--debug=true', '-q')).toEqual([true, 'images -q']);
  expect(read('--debug', 'images', '--debug=false')).toEqual([false, 'images']);
  expect(read('build', '--', '-D')).toEqual([false, 'build -- -D']);
  expect(read('unshare', 'iptables', '-D', 'x')).toEqual([false, 'unshare iptables -D x']);
});

/** Scripts by which shells complete the command line: commands, and the flags of each. Pure. */
import { fail, nearest } from '../errors/index.ts';
import type { FlagTable } from './flags.ts';

/** A command as completion tells of it. */
interface Completed {
  summary: string;
  flags: FlagTable;
}

const shells = { bash, zsh, fish };

/**
 * The script for a shell. Throws `invalid` for another one.
 *
 *     drydock completion bash >/etc/bash_completion.d/drydock
 */
export function completionScript(
  shell: string | undefined,
  commands: ReadonlyMap<string, Completed>,
): string {
  if (shell !== undefined && Object.hasOwn(shells, shell))
    return shells[shell as keyof typeof shells](commands);
  const names = Object.keys(shells);
  const like = nearest(shell ?? '', names);
  throw fail('invalid', 'client', shell === undefined ? 'which shell?' : `no completion for ${shell}`, {
    hint: like === undefined ? `drydock completion ${names.join('|')}` : `Did you mean ${like}?`,
  });
}

/** The flags before a command, and whether each takes a value. */
const globals: Record<string, boolean> = {
  '--containerd-address': true,
  '--containerd-namespace': true,
  '--debug': false,
  '--help': false,
  '--host': true,
  '--image-policy': true,
  '--image-store': true,
  '--insecure-registry': true,
  '--root': true,
  '--snapshotter': true,
  '--version': false,
};

function shown({ flags }: Completed): [string, FlagTable[string]][] {
  return Object.entries(flags).filter(([, { hidden }]) => !hidden);
}

function takesValue({ type }: FlagTable[string]): boolean {
  return type === 'string' || type === 'list';
}

function bash(commands: ReadonlyMap<string, Completed>): string {
  const withValue = Object.keys(globals).filter((name) => globals[name]);
  const cases = [...commands].map(([name, command]) => {
    const words = shown(command).flatMap(([flag, { short }]) => [
      `--${flag}`,
      ...(short ? [`-${short}`] : []),
    ]);
    return `    ${name}) words='${[...words, '--help'].join(' ')}' ;;`;
  });
  return `# bash completion of drydock
_drydock() {
  local cur=\${COMP_WORDS[COMP_CWORD]} i cmd= words=
  for ((i = 1; i < COMP_CWORD; i++)); do
    case \${COMP_WORDS[i]} in
      ${[...withValue, '-H'].join(' | ')}) ((i++)) ;;
      -*) ;;
      *) cmd=\${COMP_WORDS[i]}; break ;;
    esac
  done
  case $cmd in
    '') words='${[...commands.keys(), ...Object.keys(globals)].join(' ')}' ;;
${cases.join('\n')}
  esac
  COMPREPLY=()
  if [[ -z $cmd || $cur == -* ]]; then COMPREPLY=($(compgen -W "$words" -- "$cur")); fi
}
complete -o bashdefault -o default -F _drydock drydock
`;
}

function zsh(commands: ReadonlyMap<string, Completed>): string {
  // A description ends at its bracket, and a value's name at its colon.
  const plain = (text: string) => text.replaceAll(/[[\]:\\]/g, '\\$&');
  const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
  const list = [...commands].map(
    ([name, { summary }]) => `    ${quoted(`${name}:${summary.replaceAll(':', '\\:')}`)}`,
  );
  const cases = [...commands].map(([name, command]) => {
    const specs = shown(command).flatMap(([flag, spec]) => {
      const tail = `[${plain(spec.help)}]`;
      const value = takesValue(spec) ? `:${plain(spec.value ?? 'value')}:_files` : '';
      const long = `*--${flag}${value === '' ? '' : '='}${tail}${value}`;
      return [long, ...(spec.short ? [`*-${spec.short}${tail}${value}`] : [])].map(quoted);
    });
    return `    ${name}) _arguments ${[...specs, quoted('--help[Show the flags]'), quoted('*:file:_files')].join(' ')} ;;`;
  });
  return `#compdef drydock
_drydock() {
  local -a commands
  commands=(
${list.join('\n')}
  )
  if ((CURRENT == 2)); then
    _describe command commands
    return
  fi
  local cmd=$words[2]
  shift words
  ((CURRENT--))
  case $cmd in
${cases.join('\n')}
    *) _files ;;
  esac
}
if [ "$funcstack[1]" = _drydock ]; then _drydock "$@"; else compdef _drydock drydock; fi
`;
}

function fish(commands: ReadonlyMap<string, Completed>): string {
  const quoted = (text: string) => `'${text.replaceAll(/['\\]/g, '\\$&')}'`;
  const lines = ['# fish completion of drydock'];
  for (const [name, { summary }] of commands) {
    lines.push(`complete -c drydock -f -n __fish_use_subcommand -a ${name} -d ${quoted(summary)}`);
  }
  for (const [name, command] of commands) {
    for (const [flag, spec] of shown(command)) {
      const short = spec.short ? ` -s ${spec.short}` : '';
      const value = takesValue(spec) ? ' -r' : '';
      const when = `-n '__fish_seen_subcommand_from ${name}'`;
      lines.push(`complete -c drydock ${when} -l ${flag}${short}${value} -d ${quoted(spec.help)}`);
    }
  }
  return `${lines.join('\n')}\n`;
}

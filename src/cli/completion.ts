/** Scripts by which shells complete the command line: commands, their words, and their flags with values. Pure. */
import { fail, nearest } from '../errors/index.ts';
import type { FlagTable } from './flags.ts';
import { groupWords } from './groups.ts';
import { progressModes } from './progress/printer.ts';

/** A command as completion tells of it. */
interface Completed {
  summary: string;
  /** `ls | inspect [BUILD]`: alternatives may begin with words. */
  usage: string;
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

/** The words that may follow a command: `ls`, `inspect` … */
function wordsOf(name: string, { usage }: Completed): string[] {
  const first = usage.split('|').map((text) => /^[\s[]*([a-z][a-z-]*)(?=\s|$)/.exec(text)?.[1] ?? '');
  return [...new Set([...first.filter((word) => word !== ''), ...groupWords(name)])];
}

/** The values of a flag that are words; none where it takes anything. */
function choicesOf(name: string, { value = '' }: FlagTable[string]): readonly string[] {
  if (name === 'progress') return progressModes;
  return value.includes('|') ? value.split('|').filter((word) => /^[a-z0-9]+$/.test(word)) : [];
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
    const values = shown(command).flatMap(([flag, spec]) => {
      const choices = choicesOf(flag, spec);
      return choices.length === 0 ? [] : [`--${flag}) values='${choices.join(' ')}' ;;`];
    });
    const choose = values.length === 0 ? '' : ` case $prev in ${values.join(' ')} esac ;`;
    const more = wordsOf(name, command);
    const first = more.length === 0 ? '' : ` first='${more.join(' ')}' ;`;
    return `    ${name}) words='${[...words, '--help'].join(' ')}' ;${first}${choose};`;
  });
  return `# bash completion of drydock
_drydock() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} i cmd= words= first= values=
  # bash has the = of --flag=value as a word.
  if [[ $cur == = ]]; then
    cur=
  elif [[ $prev == = ]]; then
    prev=\${COMP_WORDS[COMP_CWORD - 2]}
  fi
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
  if [[ -n $values ]]; then
    words=$values
  elif [[ -n $cmd && $cur != -* ]]; then
    words=
    if ((i + 1 == COMP_CWORD)); then words=$first; fi
  fi
  if [[ -n $words ]]; then COMPREPLY=($(compgen -W "$words" -- "$cur")); fi
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
      const choices = choicesOf(flag, spec);
      const action = choices.length === 0 ? '_files' : `(${choices.join(' ')})`;
      const value = takesValue(spec) ? `:${plain(spec.value ?? 'value')}:${action}` : '';
      const long = `*--${flag}${value === '' ? '' : '='}${tail}${value}`;
      return [long, ...(spec.short ? [`*-${spec.short}${tail}${value}`] : [])].map(quoted);
    });
    const first = wordsOf(name, command);
    const words = first.length === 0 ? [] : [quoted(`1:command:(${first.join(' ')})`)];
    const rest = [quoted('--help[Show the flags]'), ...words, quoted('*:file:_files')];
    return `    ${name}) _arguments ${[...specs, ...rest].join(' ')} ;;`;
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
    const first = wordsOf(name, command).join(' ');
    if (first !== '') {
      const when = `__fish_seen_subcommand_from ${name}; and not __fish_seen_subcommand_from ${first}`;
      lines.push(`complete -c drydock -n ${quoted(when)} -a ${quoted(first)}`);
    }
    for (const [flag, spec] of shown(command)) {
      const short = spec.short ? ` -s ${spec.short}` : '';
      const choices = choicesOf(flag, spec);
      const value = !takesValue(spec)
        ? ''
        : choices.length === 0
          ? ' -r'
          : ` -x -a ${quoted(choices.join(' '))}`;
      const when = `-n '__fish_seen_subcommand_from ${name}'`;
      lines.push(`complete -c drydock ${when} -l ${flag}${short}${value} -d ${quoted(spec.help)}`);
    }
  }
  return `${lines.join('\n')}\n`;
}

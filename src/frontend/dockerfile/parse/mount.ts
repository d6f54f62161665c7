/** `RUN --mount=…` and `RUN --device=…`. */
import { csvFields, parseBool, ramInBytes } from '../../../words/index.ts';
import type { MountFlag } from '../ast.ts';
import { invalid } from './errors.ts';
import { didYouMean } from './suggest.ts';

const TYPES = ['bind', 'cache', 'tmpfs', 'secret', 'ssh'] as const;
const SHARING = ['shared', 'private', 'locked'];
const KEYS = [
  ...['type', 'from', 'source', 'src', 'target', 'dst', 'destination', 'readonly', 'ro', 'readwrite', 'rw'],
  ...['id', 'sharing', 'required', 'size', 'mode', 'uid', 'gid', 'env'],
];

/** The bytes of a size such as `64m`. Throws `invalid`. */
export function parseSize(text: string): number {
  const bytes = ramInBytes(text);
  if (bytes === undefined)
    throw invalid(`invalid value for size: ${text}`, 'Write a number of bytes, or one with k, m or g.');
  return bytes;
}

/** Whether a value can only be checked when its variables are known. */
type Open = (value: string) => boolean;

/**
 * Reads the value of one `--mount`. Without `expand`, values with a `$` are kept as written and not checked. With it
 * (in the converter's second look, at `RunMount.raw`), every value is expanded first, and all rules hold. Throws
 * `invalid` for unknown keys, bad values, and options that do not go with the type.
 */
export function parseMount(raw: string, expand?: (word: string) => string): MountFlag {
  const mount: MountFlag = { raw, type: 'bind' };
  const open: Open = (value) => expand === undefined && value.includes('$');
  let typeOpen = false;
  let readonly: boolean | undefined;
  const requireType = (key: string, ...types: MountFlag['type'][]) => {
    if (!typeOpen && !types.includes(mount.type))
      throw invalid(
        `unexpected key '${key}' for mount type '${mount.type}'`,
        `${key} goes with type=${types.join(' or type=')}; write type first.`,
      );
  };
  for (const field of fieldsOf(raw)) {
    const equals = field.indexOf('=');
    const key = (equals < 0 ? field : field.slice(0, equals)).toLowerCase();
    if (!KEYS.includes(key))
      throw invalid(
        equals < 0 && didYouMean(key, KEYS) === ''
          ? `invalid field '${field}' must be a key=value pair`
          : `unexpected key '${key}' in '${field}'${didYouMean(key, KEYS)}`,
        `Known keys: ${KEYS.join(', ')}.`,
      );
    const written = equals < 0 ? undefined : field.slice(equals + 1);
    if (written === undefined) {
      if (key === 'readonly' || key === 'ro') readonly = true;
      else if (key === 'readwrite' || key === 'rw') readonly = false;
      else if (key === 'required') {
        requireType(key, 'secret', 'ssh');
        mount.required = true;
      } else throw invalid(`invalid field '${field}' must be a key=value pair`, `Write ${key}=<value>.`);
      continue;
    }
    if (key === 'from' && /\$./.test(written))
      throw invalid(
        "'from' doesn't support variable expansion, define alias stage instead",
        'Add FROM <image with the variable> AS <name> and write from=<name>.',
      );
    const value = key === 'from' || expand === undefined ? written : expand(written);
    switch (key) {
      case 'type': {
        if (open(value)) {
          typeOpen = true;
          break;
        }
        const type = TYPES.find((t) => t === value.toLowerCase());
        if (type === undefined)
          throw invalid(
            `unsupported mount type ${JSON.stringify(value)}${didYouMean(value, TYPES)}`,
            `Known types: ${TYPES.join(', ')}.`,
          );
        mount.type = type;
        break;
      }
      case 'from':
        mount.from = value;
        break;
      case 'source':
      case 'src':
        mount.source = value;
        break;
      case 'target':
      case 'dst':
      case 'destination':
        mount.target = value;
        break;
      case 'readonly':
      case 'ro':
        if (!open(value)) readonly = bool(key, value);
        break;
      case 'readwrite':
      case 'rw':
        if (!open(value)) readonly = !bool(key, value);
        break;
      case 'required':
        requireType(key, 'secret', 'ssh');
        if (!open(value)) mount.required = bool(key, value);
        break;
      case 'size':
        requireType(key, 'tmpfs');
        if (!open(value)) parseSize(value);
        mount.size = value;
        break;
      case 'sharing':
        if (!open(value) && !SHARING.includes(value.toLowerCase()))
          throw invalid(
            `unsupported sharing value ${JSON.stringify(value)}${didYouMean(value, SHARING)}`,
            `Known values: ${SHARING.join(', ')}.`,
          );
        mount.sharing = open(value) ? value : value.toLowerCase();
        break;
      case 'mode':
        if (!open(value) && !fits(value, 8))
          throw invalid(`invalid value ${value} for mode`, 'Write an octal number such as 0400.');
        mount.mode = value;
        break;
      case 'uid':
      case 'gid':
        if (!open(value) && !fits(value, 10))
          throw invalid(`invalid value ${value} for ${key}`, 'Write a number.');
        mount[key] = value;
        break;
      case 'id':
        mount.id = value;
        break;
      default:
        mount.env = value;
    }
  }
  mount.readonly = readonly ?? (mount.type !== 'cache' && mount.type !== 'tmpfs');
  if (!typeOpen) checkTogether(mount);
  return mount;
}

function fieldsOf(text: string): string[] {
  return csvFields(text, (why) =>
    invalid(
      `failed to parse csv: ${why} in ${JSON.stringify(text)}`,
      'Put a field with a comma in double quotes.',
    ),
  );
}

function bool(key: string, value: string): boolean {
  const parsed = parseBool(value);
  if (parsed === undefined) throw invalid(`invalid value for ${key}: ${value}`, 'Write true or false.');
  return parsed;
}

/** Whether a text is an unsigned 32-bit number in the given base. */
function fits(value: string, base: 8 | 10): boolean {
  return (base === 8 ? /^[0-7]{1,12}$/ : /^\d{1,10}$/).test(value) && Number.parseInt(value, base) < 2 ** 32;
}

/** Checks the rules that need the whole mount. */
function checkTogether(mount: MountFlag): void {
  const { type } = mount;
  if (type === 'bind' || type === 'tmpfs') {
    for (const key of ['mode', 'uid', 'gid'] as const)
      if (mount[key] !== undefined)
        throw invalid(
          `${key} not allowed for "${type}" type mounts`,
          `${key} goes with type=cache, secret or ssh.`,
        );
  }
  if (type === 'secret') {
    if (mount.from)
      throw invalid('secret mount should not have a from', 'Secrets come from --secret of the build.');
    if (mount.sharing !== undefined)
      throw invalid('secret mount should not define sharing', 'Remove sharing.');
    if (!mount.source && !mount.target && !mount.id)
      throw invalid(
        'invalid secret mount. one of source, target required',
        'Write --mount=type=secret,id=<name>.',
      );
    if (mount.source && mount.id)
      throw invalid("both source and id can't be set", 'source and id mean the same here.');
  }
  if (mount.sharing !== undefined && type !== 'cache')
    throw invalid(`invalid cache sharing set for ${type} mount`, 'sharing goes with type=cache.');
}

/** Reads the value of one `--device`: `[name=]NAME[,required[=BOOL]]`. Throws `invalid`. */
export function parseDevice(text: string): { name: string; required: boolean } {
  const device = { name: '', required: false };
  const hint = 'Write --device=<vendor/class=name>[,required].';
  for (const field of fieldsOf(text)) {
    const equals = field.indexOf('=');
    const key = (equals < 0 ? field : field.slice(0, equals)).toLowerCase();
    const value = field.slice(equals + 1);
    if (key === 'required') device.required = equals < 0 || bool(key, value);
    else if (key === 'name' && equals >= 0) {
      if (device.name !== '') throw invalid(`device name already set to ${device.name}`, hint);
      device.name = value;
    } else if (device.name === '') device.name = field;
    else if (equals < 0) throw invalid(`invalid field '${field}' must be a key=value pair`, hint);
    else throw invalid(`unexpected key '${key}' in '${field}'${didYouMean(key, ['name', 'required'])}`, hint);
  }
  return device;
}

import type { FileAction, Op } from '../pb/solver/pb/ops_pb.js';

/** The name that progress shows for an op whose client gave it none. */
export function opName(op: Op): string {
  switch (op.op.case) {
    case 'source':
      return op.op.value.identifier;
    case 'exec':
      return op.op.value.meta?.args.join(' ') ?? 'exec';
    case 'file':
      return op.op.value.actions.map(actionName).join(', ') || 'file';
    case 'build':
      return 'build';
    case 'merge':
      return `merge (${op.inputs.length} inputs)`;
    case 'diff':
      return 'diff';
    case 'passthrough':
      return 'passthrough';
    case 'scan':
      return 'scan for packages';
    default:
      return 'unknown';
  }
}

function actionName(action: FileAction): string {
  switch (action.action.case) {
    case 'mkdir':
      return `mkdir ${action.action.value.path}`;
    case 'mkfile':
      return `mkfile ${action.action.value.path}`;
    case 'rm':
      return `rm ${action.action.value.path}`;
    case 'symlink':
      return `symlink ${action.action.value.newpath} -> ${action.action.value.oldpath}`;
    case 'copy':
      return `copy ${action.action.value.src} ${action.action.value.dest}`;
    default:
      return 'unknown file action';
  }
}

/** LLB's messages and enums under the names of the generated code, made and encoded by `wire/`. */
import type * as pb from '../pb/solver/pb/ops_pb.js';
import { enums } from '../pb/solver/pb/ops_table.js';
import type { Schema } from './wire/messages.ts';

export { fromBinary } from './wire/decode.ts';
export { toBinary } from './wire/encode.ts';
export { clone, create } from './wire/messages.ts';

export const OpSchema: Schema<pb.Op> = { typeName: 'pb.Op' };
export const ExecOpSchema: Schema<pb.ExecOp> = { typeName: 'pb.ExecOp' };
export const FileOpSchema: Schema<pb.FileOp> = { typeName: 'pb.FileOp' };
export const FileActionSchema: Schema<pb.FileAction> = { typeName: 'pb.FileAction' };
export const BuildOpSchema: Schema<pb.BuildOp> = { typeName: 'pb.BuildOp' };
export const InputSchema: Schema<pb.Input> = { typeName: 'pb.Input' };
export const PlatformSchema: Schema<pb.Platform> = { typeName: 'pb.Platform' };
export const WorkerConstraintsSchema: Schema<pb.WorkerConstraints> = { typeName: 'pb.WorkerConstraints' };
export const DefinitionSchema: Schema<pb.Definition> = { typeName: 'pb.Definition' };
export const OpMetadataSchema: Schema<pb.OpMetadata> = { typeName: 'pb.OpMetadata' };
export const SourceSchema: Schema<pb.Source> = { typeName: 'pb.Source' };
export const NetMode = enums.NetMode as unknown as typeof pb.NetMode;
export const SecurityMode = enums.SecurityMode as unknown as typeof pb.SecurityMode;
export const MountType = enums.MountType as unknown as typeof pb.MountType;
export const MountContentCache = enums.MountContentCache as unknown as typeof pb.MountContentCache;
export const CacheSharingOpt = enums.CacheSharingOpt as unknown as typeof pb.CacheSharingOpt;

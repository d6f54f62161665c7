/** Server reflection: the services and the form of their messages, for tools such as grpcurl. */
import type { DescFile, DescService } from '@bufbuild/protobuf';
import { createRegistry, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import type { ConnectRouter, ServiceImpl } from '@connectrpc/connect';
import { NOT_FOUND, UNIMPLEMENTED } from '../../grpc/index.ts';
import { ServerReflection as Alpha } from '../../pb/grpc/reflection_alpha_pb.js';
import { ServerReflection, type ServerReflectionRequest } from '../../pb/grpc/reflection_pb.js';

type Implementation = ServiceImpl<typeof ServerReflection>;

/** Adds reflection (v1 and its former v1alpha) of these services and of itself. */
export function reflection(
  router: ConnectRouter,
  services: readonly DescService[],
  limits: { readMaxBytes: number },
): void {
  const all = [...services, ServerReflection, Alpha];
  const files = filesOf(all);
  const answer = (request: ServerReflectionRequest) => answerOf(request, all, files);
  const implementation: Implementation = {
    async *serverReflectionInfo(requests) {
      for await (const request of requests) yield answer(request);
    },
  };
  router.service(ServerReflection, implementation, limits);
  router.service(Alpha, implementation as unknown as ServiceImpl<typeof Alpha>, limits);
}

/** The services' files and all that they import, by name. */
function filesOf(services: readonly DescService[]): Map<string, DescFile> {
  const files = new Map<string, DescFile>();
  const queue = services.map(({ file }) => file);
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    if (files.has(file.proto.name)) continue;
    files.set(file.proto.name, file);
    queue.push(...file.dependencies);
  }
  return files;
}

function answerOf(
  request: ServerReflectionRequest,
  services: readonly DescService[],
  files: ReadonlyMap<string, DescFile>,
) {
  const wanted = request.messageRequest;
  const base = { validHost: request.host, originalRequest: request };
  const error = (errorCode: number, errorMessage: string) => ({
    ...base,
    messageResponse: { case: 'errorResponse' as const, value: { errorCode, errorMessage } },
  });
  const file = (found: DescFile | undefined, what: string) =>
    found === undefined
      ? error(NOT_FOUND, `${what} is not known`)
      : {
          ...base,
          messageResponse: {
            case: 'fileDescriptorResponse' as const,
            value: {
              fileDescriptorProto: closure(found).map(({ proto }) =>
                toBinary(FileDescriptorProtoSchema, proto),
              ),
            },
          },
        };
  switch (wanted.case) {
    case 'listServices':
      return {
        ...base,
        messageResponse: {
          case: 'listServicesResponse' as const,
          value: { service: services.map(({ typeName }) => ({ name: typeName })) },
        },
      };
    case 'fileByFilename':
      return file(files.get(wanted.value), wanted.value);
    case 'fileContainingSymbol':
      return file(fileOfSymbol(wanted.value, files), wanted.value);
    case 'fileContainingExtension':
      return error(NOT_FOUND, 'there are no extensions');
    case 'allExtensionNumbersOfType':
      return {
        ...base,
        messageResponse: {
          case: 'allExtensionNumbersResponse' as const,
          value: { baseTypeName: wanted.value, extensionNumber: [] },
        },
      };
    default:
      return error(UNIMPLEMENTED, 'the request asks for nothing that is known');
  }
}

function fileOfSymbol(symbol: string, files: ReadonlyMap<string, DescFile>): DescFile | undefined {
  const registry = createRegistry(...files.values());
  // A method is named by its service and its own name.
  return (registry.get(symbol) ?? registry.get(symbol.replace(/\.[^.]*$/, '')))?.file;
}

function closure(file: DescFile): DescFile[] {
  const found = new Set([file]);
  for (const each of found) for (const dependency of each.dependencies) found.add(dependency);
  return [...found];
}

"""docker-py against a daemon in front of an engine. Arguments: the daemon's address, a context. Prints a JSON object."""

import json
import sys

import docker

client = docker.DockerClient(base_url=sys.argv[1], timeout=60)
image, log = client.images.build(path=sys.argv[2], tag="py:1", rm=True)
told = {"built": image.tags, "log": "".join(line.get("stream", "") for line in log)}
told["run"] = client.containers.run(image.id, ["sh", "-c", "echo out"], network_mode="none", remove=True).decode()
script = "for i in 1 2 3; do echo line $i; done; read x < /dev/zero"
container = client.containers.run("py:1", ["sh", "-c", script], detach=True, network_mode="none")
lines = container.logs(stream=True)
told["logs"] = "".join(next(lines).decode() for _ in range(3)).splitlines()
result = container.exec_run(["sh", "-c", "echo out; echo err >&2; exit 4"], demux=True)
told["exec"] = [result.exit_code, *(part.decode() for part in result.output)]
started = client.api.exec_create(container.id, ["busybox", "cat"], stdin=True)
stream = client.api.exec_start(started["Id"], socket=True)
stream._sock.sendall(b"typed\n")
# Eight bytes say which stream it is and how long.
told["socket"] = stream._sock.recv(100)[8:].decode()
stream.close()
events = client.events(decode=True, filters={"container": container.id})
container.kill()
told["wait"] = container.wait()["StatusCode"]
told["killed"] = any(event["Action"] == "kill" for event in events)
events.close()
told["committed"] = container.commit("py-committed", "1").tags
container.remove()
client.images.remove("py-committed:1")
print(json.dumps(told))

"""`python -m workers.broker.relock`: rewrite `jars.lock.json` after a change of version."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec

from serve_app.system.files import sha256_of
from workers.broker.maven import maven_context
from workers.broker.pins import LOCK_FILE, Jar, JarLock

KAFKA_VERSION = "4.4.0"
KAFKA = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}"
# Kafka's own dependencies contain log4j, but not the binding that connects it to Kafka's loggers.
LOG4J_BINDING = "org.apache.logging.log4j:log4j-slf4j-impl"
LOG4J = "org.apache.logging.log4j:log4j-core"


def resolve() -> JarLock:
    """Resolve the broker's dependencies as Maven would; downloads all of them (45 MB)."""
    with tempfile.TemporaryDirectory() as folder:
        context = maven_context(Path(folder))
        inputs, transitive = context.resolver.resolve([context.create_dependency(KAFKA)])
        artifacts = [dependency.artifact for dependency in (*inputs, *transitive)]
        versions = {f"{found.groupId}:{found.artifactId}": found.version for found in artifacts}
        binding = context.create_dependency(f"{LOG4J_BINDING}:{versions[LOG4J]}")
        jars = []
        for artifact in [*artifacts, binding.artifact]:
            path = artifact.resolve()
            jars.append(
                Jar(
                    coordinate=f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}",
                    sha256=sha256_of(path),
                    size=path.stat().st_size,
                )
            )
        return JarLock(kafka=KAFKA_VERSION, jars=sorted(jars, key=lambda jar: jar.coordinate))


if __name__ == "__main__":
    LOCK_FILE.write_bytes(msgspec.json.format(msgspec.json.encode(resolve()), indent=2) + b"\n")
    print(f"wrote {LOCK_FILE.name}")

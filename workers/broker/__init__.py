"""A real Apache Kafka on this machine without set-up: it fetches the jars once and finds a Java.

`cluster.Cluster` runs brokers on loopback; `run.run_broker` is the command `chorus broker`. Topics
are created by `workers.kafka.topics`.
"""

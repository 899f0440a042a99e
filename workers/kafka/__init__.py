"""A real Apache Kafka with no set-up: jars fetched once, a Java found, brokers on loopback.

`cluster.Cluster` runs it, `topics.ensure_topics` makes topics, `run.run_broker` is `chorus broker`.
"""

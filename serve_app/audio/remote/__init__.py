"""Audio that is not on this machine: in object stores (S3, Google Cloud, Azure) and on web servers.

`locations` says what lies below a root and what does not; `reader` is the interface of a store,
`buckets` and `web` are its two kinds, with `addresses` for what hosts may be reached; `fetching`
puts a recording, or the part of one that a record needs, into an unnamed file; `kept` keeps whole
recordings of which many segments are asked; `source` puts these together.
"""

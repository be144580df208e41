"""A corpus too large for one file: encoded shard by shard, whatever is killed meanwhile.

plan the shards ──▶ encode each (worker processes, or Ray) ──▶ manifest, last

A shard is a pure function of the plan and its number, so the result is the same to the bit
whoever encodes it, however many work side by side, and however often they were killed.
"""

from corom.sharding.encoding import EncodedShards, encode_shards
from corom.sharding.folder import ShardedVectors, VectorShard, open_shards
from corom.sharding.spec import ShardSpec

__all__ = [
    "EncodedShards",
    "ShardSpec",
    "ShardedVectors",
    "VectorShard",
    "encode_shards",
    "open_shards",
]

"""The job: plans, pool, shards, receipts, versions, and the command `mammo-etl`."""

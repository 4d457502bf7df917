"""The service around the method: api -> services -> store -> models, a queue, executors, a runner, pages, a command line."""

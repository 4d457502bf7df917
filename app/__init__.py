"""The service around the method: api -> services -> store -> models; queue, executors, runner, pages, command line."""

"""The ground: what the processes stand on. The development stack, dependency locks, images and dashboards."""

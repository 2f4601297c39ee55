"""The processes: settings, clients of the broker, worker, engines, SDK and command line."""

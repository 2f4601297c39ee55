"""Fire under the pipeline: processes are killed, frozen and drained while every token of every stream is judged."""

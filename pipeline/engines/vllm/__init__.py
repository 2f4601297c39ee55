"""The engine on vLLM. Only `engine` is for others; importing it does not import vLLM, starting it does."""

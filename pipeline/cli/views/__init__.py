"""What commands draw: values in, rich renderables out. Nothing here talks to a broker or decides."""

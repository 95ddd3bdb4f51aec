"""What a process answers about itself over HTTP, and sends on: health, status, metrics, traces."""

"""Results as objects in a bucket of S3's kind, or as files in a folder: `<prefix>/<bucket>/<key>`."""

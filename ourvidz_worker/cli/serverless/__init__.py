"""The same worker behind RunPod's serverless SDK, for pods that scale to zero."""

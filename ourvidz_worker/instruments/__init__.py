"""The gauges and traces that any ring may set, named once; nothing here does I/O."""

"""The wire: what other people's systems send and expect. Pure data: no input or output, no import of ours."""

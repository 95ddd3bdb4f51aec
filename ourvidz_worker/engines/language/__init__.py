"""Language models: prompts rewritten, scripts turned into scenes."""

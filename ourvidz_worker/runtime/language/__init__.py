"""What the product asks of a language model: prompts rewritten, scripts turned into scenes."""

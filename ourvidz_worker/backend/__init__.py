"""Adapters to the product's side: the Upstash queue, Supabase storage, callbacks and reference pictures."""

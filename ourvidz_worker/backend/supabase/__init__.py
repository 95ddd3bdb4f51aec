"""The product over Supabase: files into Storage, reports to its function, and a look at its rows."""

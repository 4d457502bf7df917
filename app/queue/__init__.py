"""Which job starts when, and what becomes of attempts whose process is gone."""

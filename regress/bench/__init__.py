# Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE.
"""What `make bench' measures: main.py runs it, rows_*.py have the rows."""
